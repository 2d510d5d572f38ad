import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { type LocalConnection, startLocalDatabase } from '../../api/store/local/local-database.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    postgres: LocalConnection;
  }
}

/**
 * One PostgreSQL for the whole run: FEDEDGE_TEST_DATABASE_URL's (its user has to be allowed to create databases),
 * else an embedded one in a temporary folder, without fsync.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const url = process.env.FEDEDGE_TEST_DATABASE_URL;
  if (url) {
    const server = parseUrl(new URL(url));
    await dropTemplates(server);
    project.provide('postgres', server);
    return async () => {};
  }
  const dataDir = await mkdtemp(join(tmpdir(), 'fededge-test-'));
  const settings = {
    fsync: 'off',
    synchronous_commit: 'off',
    full_page_writes: 'off',
    max_connections: '300',
  };
  // Readable, so that a run as root keeps its database inside of it.
  await chmod(dataDir, 0o755);
  const database = await startLocalDatabase({ dataDir, settings });
  project.provide('postgres', database.connection);
  return async () => {
    await database.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
}

/** Templates that an earlier run left on a server that outlives it, with the migrations of then. */
async function dropTemplates(server: LocalConnection): Promise<void> {
  const sql = postgres({ ...server, max: 1, onnotice: () => {} });
  const found = await sql`select datname from pg_database where datname like 'fededge\\_template\\_%'`;
  for (const { datname } of found) await sql`drop database ${sql(datname as string)} with (force)`;
  await sql.end();
}

function parseUrl(url: URL): LocalConnection {
  const user = decodeURIComponent(url.username);
  const password = decodeURIComponent(url.password);
  return {
    host: url.hostname,
    port: Number(url.port || 5432),
    user,
    password,
    database: url.pathname.slice(1),
  };
}
