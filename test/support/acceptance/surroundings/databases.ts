import { randomBytes } from 'node:crypto';
import postgres from 'postgres';
import { inject } from 'vitest';

/** An empty database of a test's own, and the environment by which a process finds it. */
export interface ReplicaDatabase {
  env: Record<string, string>;
  drop(): Promise<void>;
}

/** On the run's PostgreSQL. It may listen on a Unix socket alone, which a URL cannot name, but PGHOST can. */
export async function createDatabase(): Promise<ReplicaDatabase> {
  const { host, port, user, password } = inject('postgres');
  const name = `fededge_acceptance_${randomBytes(6).toString('hex')}`;
  const administer = async (use: (sql: postgres.Sql) => Promise<unknown>) => {
    const sql = postgres({ host, port, user, password, database: 'postgres', max: 1, onnotice: () => {} });
    await use(sql).finally(() => sql.end({ timeout: 5 }));
  };
  await administer((sql) => sql`create database ${sql(name)}`);
  return {
    env: {
      DATABASE_URL: `postgres:///${name}`,
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: user,
      ...(password ? { PGPASSWORD: password } : {}),
      FEDEDGE_DATABASE_CONNECTIONS: '8',
    },
    drop: () => administer((sql) => sql`drop database if exists ${sql(name)} with (force)`),
  };
}
