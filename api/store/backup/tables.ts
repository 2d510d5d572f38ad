import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type postgres from 'postgres';
import type { Database } from '../database.ts';

/** A table and the columns that were copied of it. */
export interface CopiedTable {
  name: string;
  columns: string[];
}

/** A session that sees one state of the database, whatever is committed meanwhile. */
export interface Snapshot {
  /** Every table of FedEdge; one that refers to another comes after it. */
  tables: CopiedTable[];
  copy(table: CopiedTable): Promise<AsyncIterable<Uint8Array>>;
  /** Keys of the blobs that rows refer to. */
  listBlobs(): Promise<string[]>;
  newestMigration(): Promise<number>;
}

/** A worker of the restored database never writes under a key that one of the original's may have used since. */
const FENCE_STEP = 2 ** 20;

export async function readSnapshot<T>(
  { client }: Pick<Database, 'client'>,
  work: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  const result = await client.begin('isolation level repeatable read read only', async (sql) => {
    const tables = await listTables(sql);
    return work({
      tables,
      copy: ({ name, columns }) => sql`copy ${sql(name)} (${sql(columns)}) to stdout`.readable(),
      listBlobs: async () => {
        const rows = await sql<{ key: string }[]>`select key from blobs where state = 'live' order by key`;
        return rows.map(({ key }) => key);
      },
      newestMigration: () => newestMigration(sql),
    });
  });
  return result as T;
}

/** True if nothing was ever done with this database. */
export async function isUntouched({ client }: Pick<Database, 'client'>): Promise<boolean> {
  const [row] = await client<[{ found: boolean }]>`select exists (select 1 from federations) as found`;
  return !row.found;
}

/**
 * Fills an untouched database, in one transaction. Blobs that were being written are forgotten, sequences go on, and
 * every lease is free under a higher fence.
 */
export async function fillTables(
  { client }: Pick<Database, 'client'>,
  tables: readonly CopiedTable[],
  read: (table: CopiedTable) => AsyncIterable<Uint8Array>,
): Promise<void> {
  await client.begin(async (sql) => {
    for (const { name, columns } of tables) {
      const writable = await sql`copy ${sql(name)} (${sql(columns)}) from stdin`.writable();
      await pipeline(Readable.from(copied(read({ name, columns }))), writable);
    }
    await sql`delete from blobs where state <> 'live'`;
    await sql`update leases set fence = fence + ${FENCE_STEP}, expires_at = to_timestamp(0)`;
    for (const table of ['events', 'audit_entries']) {
      await sql`select setval(pg_get_serial_sequence(${table}, 'id'),
        greatest((select coalesce(max(id), 0) from ${sql(table)}), 1))`;
    }
  });
}

export async function newestMigration(sql: postgres.Sql | postgres.TransactionSql): Promise<number> {
  const [row] = await sql<[{ newest: string | null }]>`
    select max(created_at) as newest from drizzle.__drizzle_migrations`;
  return Number(row.newest ?? 0);
}

/** A reader's chunk is valid until the next one; a stream may hold several. */
async function* copied(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const chunk of chunks) yield Buffer.from(chunk);
}

async function listTables(sql: postgres.TransactionSql): Promise<CopiedTable[]> {
  const found = await sql<{ name: string; columns: string[] }[]>`
    select table_name as name, array_agg(column_name::text order by ordinal_position) as columns
    from information_schema.columns join information_schema.tables using (table_schema, table_name)
    where table_schema = 'public' and table_type = 'BASE TABLE' group by table_name order by table_name`;
  const references = await sql<{ from: string; to: string }[]>`
    select conrelid::regclass::text as from, confrelid::regclass::text as to from pg_constraint
    where contype = 'f' and connamespace = 'public'::regnamespace`;
  const ordered: CopiedTable[] = [];
  const place = (name: string) => {
    if (ordered.some((table) => table.name === name)) return;
    for (const { from, to } of references) if (from === name && to !== name) place(to);
    const { columns } = found.find((table) => table.name === name)!;
    ordered.push({ name, columns });
  };
  for (const { name } of found) place(name);
  return ordered;
}
