import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { startLocalDatabase } from '../../api/store/local/local-database.ts';

/** A PostgreSQL beside the cluster, as an organisation has one that somebody else keeps. */
export interface HostPostgres {
  /** For the Secret: pods come by TCP, with a password. */
  url: string;
  /** For questions that the test has. */
  sql: postgres.Sql;
  stop(): Promise<void>;
}

const PORT = 5432;
const DATABASE = 'federation';

/** The embedded binaries, listening on `host` too. Whoever does not come from this machine has to know the password. */
export async function startPostgres(folder: string, host: string): Promise<HostPostgres> {
  await mkdir(folder, { recursive: true });
  const accessFile = join(folder, 'access.conf');
  await writeFile(accessFile, 'local all all trust\nhost all all 0.0.0.0/0 scram-sha-256\n', { mode: 0o644 });
  const settings = {
    listen_addresses: host,
    port: String(PORT),
    hba_file: accessFile,
    max_connections: '200',
    password_encryption: 'scram-sha-256',
  };
  const { connection, stop } = await startLocalDatabase({ dataDir: folder, settings });
  const password = randomBytes(18).toString('base64url');
  await administer(connection, password);
  const sql = postgres({ ...connection, database: DATABASE, max: 3, onnotice: () => {} });
  return {
    url: `postgres://fededge_app:${password}@${host}:${PORT}/${DATABASE}`,
    sql,
    async stop() {
      await sql.end({ timeout: 2 });
      await stop();
    },
  };
}

async function administer(
  connection: { host: string; port: number; user: string },
  password: string,
): Promise<void> {
  const sql = postgres({ ...connection, database: 'postgres', max: 1, onnotice: () => {} });
  try {
    // A role's password cannot be a parameter; this one has no character that would need quoting.
    await sql.unsafe(`create role fededge_app login password '${password}'`);
    await sql`create database ${sql(DATABASE)} owner fededge_app`;
  } finally {
    await sql.end({ timeout: 2 });
  }
}
