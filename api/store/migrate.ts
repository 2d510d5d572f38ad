/**
 * The schema and who may work on it. Migrations expand first: what a version needs is added, and versions next to each
 * other run side by side. A migration that takes away what only older versions need says so, in the comment of the
 * schema that drizzle keeps its journal in:
 *
 *   comment on schema drizzle is 'fededge needs 1760000000000';
 *
 * Versions whose newest migration is older than that (`when` of their journal) find it, and serve no longer.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { type Connection, type Database, openDatabase } from './database.ts';
import { SchemaAheadError } from './schema-ahead.ts';

const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));
const MIGRATION_LOCK = 4_021_990_001;
const NEEDS = /^fededge needs (\d{1,16})$/;

/**
 * `behind`: the database lacks migrations of this version. `ahead`: a newer version has taken away what this one needs.
 * Later migrations that only expand are `ok`.
 */
export type SchemaState = 'ok' | 'behind' | 'ahead';

/**
 * Brings a database to this version's schema. Any number of processes may call it at once: one works, the rest wait.
 * Throws SchemaAheadError.
 */
export async function migrateDatabase(target: string | Connection): Promise<void> {
  const db = openDatabase(target, { connections: 1 });
  try {
    await db.pool.execute(sql`select pg_advisory_lock(${MIGRATION_LOCK})`);
    if ((await readSchemaState(db)) === 'ahead') throw new SchemaAheadError();
    await migrate(db.pool, { migrationsFolder });
  } finally {
    await db.close();
  }
}

/** What this version can do with the database as it is. */
export async function readSchemaState({ pool }: Pick<Database, 'pool'>): Promise<SchemaState> {
  const { when: newest } = readJournal().at(-1)!;
  const [found] = await pool.execute<{ journal: boolean; comment: string | null }>(sql`
    select to_regclass('drizzle.__drizzle_migrations') is not null as journal,
      obj_description(to_regnamespace('drizzle')::oid, 'pg_namespace') as comment`);
  const needed = Number(NEEDS.exec(found?.comment ?? '')?.[1] ?? 0);
  if (needed > newest) return 'ahead';
  if (!found?.journal) return 'behind';
  const [last] = await pool.execute<{ newest: string | null }>(
    sql`select max(created_at) as newest from drizzle.__drizzle_migrations`,
  );
  return Number(last?.newest ?? 0) >= newest ? 'ok' : 'behind';
}

function readJournal(): { when: number }[] {
  const text = readFileSync(`${migrationsFolder}/meta/_journal.json`, 'utf8');
  const { entries } = JSON.parse(text) as { entries: { when: number }[] };
  return entries.toSorted((one, other) => one.when - other.when);
}
