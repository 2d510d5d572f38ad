import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { type Connection, type Database, openDatabase } from './database.ts';

const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));
const MIGRATION_LOCK = 4_021_990_001;

/** Brings a database to this version's schema. Any number of processes may call it at once: one works, the rest wait. */
export async function migrateDatabase(target: string | Connection): Promise<void> {
  const db = openDatabase(target, { connections: 1 });
  try {
    await db.pool.execute(sql`select pg_advisory_lock(${MIGRATION_LOCK})`);
    await migrate(db.pool, { migrationsFolder });
  } finally {
    await db.close();
  }
}

/** True if the database has every migration that this version knows (it may have later ones: they only expand). */
export async function isMigrated(db: Database): Promise<boolean> {
  const journal = JSON.parse(readFileSync(`${migrationsFolder}/meta/_journal.json`, 'utf8')) as {
    entries: { when: number }[];
  };
  const newest = Math.max(...journal.entries.map(({ when }) => when));
  const rows = await db.pool.execute<{ newest: string | null }>(
    sql`select max(created_at) as newest from drizzle.__drizzle_migrations`,
  );
  return Number(rows[0]?.newest ?? 0) >= newest;
}
