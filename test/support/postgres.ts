import { createHash, randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject } from 'vitest';
import type { LocalConnection } from '../../api/store/local/local-database.ts';

/** A database of a test file's own; `drop` it when done (the connections to it are ended). */
export interface TestDatabase {
  connection: LocalConnection;
  drop(): Promise<void>;
}

/**
 * Clones a migrated database. The template is made once for a run by whoever comes first; `migrate` has to close
 * its connections. Different migrations need different `template` names.
 */
export async function createTestDatabase(options: {
  migrate: (connection: LocalConnection) => Promise<void>;
  template?: string;
}): Promise<TestDatabase> {
  const server = inject('postgres');
  const template = `fededge_template_${options.template ?? 'main'}`;
  const database = `fededge_test_${randomBytes(6).toString('hex')}`;
  await asAdministrator(server, async (sql) => {
    await ensureTemplate(sql, template, () => options.migrate({ ...server, database: `${template}_draft` }));
    await sql`create database ${sql(database)} template ${sql(template)} strategy file_copy`;
  });
  const drop = async () => {
    await asAdministrator(server, async (sql) => {
      await sql`drop database if exists ${sql(database)} with (force)`;
    });
  };
  return { connection: { ...server, database }, drop };
}

/** The template gets its name when it is whole, so that its existence says so. */
async function ensureTemplate(
  sql: postgres.Sql,
  template: string,
  migrate: () => Promise<void>,
): Promise<void> {
  const lock = createHash('sha256').update(template).digest().readInt32BE();
  await sql`select pg_advisory_lock(${lock})`;
  try {
    const found = await sql`select 1 from pg_database where datname = ${template}`;
    if (found.length > 0) return;
    const draft = `${template}_draft`;
    await sql`drop database if exists ${sql(draft)} with (force)`;
    await sql`create database ${sql(draft)}`;
    await migrate();
    await sql`alter database ${sql(draft)} rename to ${sql(template)}`;
  } finally {
    await sql`select pg_advisory_unlock(${lock})`;
  }
}

async function asAdministrator<T>(
  server: LocalConnection,
  use: (sql: postgres.Sql) => Promise<T>,
): Promise<T> {
  // One connection: the advisory lock belongs to its session.
  const sql = postgres({ ...server, database: 'postgres', max: 1, onnotice: () => {} });
  try {
    return await use(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}
