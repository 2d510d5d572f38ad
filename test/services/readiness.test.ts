import { chmod, mkdtemp, rename, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createReadiness } from '../../api/services/readiness.ts';
import { createFileBlobs } from '../../api/store/blobs/file-blobs.ts';
import { type Database, openDatabase } from '../../api/store/database.ts';
import { type LocalDatabase, startLocalDatabase } from '../../api/store/local/local-database.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { createTestClock } from '../support/clock.ts';

let folder: string;
let port: number;
let server: LocalDatabase;
let db: Database;
const clock = createTestClock();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-ready-'));
  await chmod(folder, 0o755);
  port = await freePort();
  server = await start();
  const connection = { ...server.connection, host: '127.0.0.1', port };
  await migrateDatabase(connection);
  db = openDatabase(connection, { connections: 3 });
});
afterAll(async () => {
  await db?.close();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** At one address, so that who was connected finds it again. */
function start(): Promise<LocalDatabase> {
  const settings = { listen_addresses: '127.0.0.1', port: String(port), fsync: 'off' };
  return startLocalDatabase({ dataDir: join(folder, 'database'), settings });
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address() as { port: number };
      probe.close(() => resolve(free));
    });
  });
}

function createCheck() {
  const blobs = createFileBlobs({ dir: join(folder, 'blobs') });
  const readiness = createReadiness({ db, blobs, clock, log: pino({ level: 'silent' }) });
  return () => {
    clock.advance(1000);
    return readiness();
  };
}

const well = { database: 'ok', schema: 'ok', blobs: 'ok' };

it('turns false when the database stops, and true when it is there again', async () => {
  const check = createCheck();
  expect(await check()).toEqual(well);
  await server.stop();
  expect(await check()).toEqual({ database: 'failed', schema: 'failed', blobs: 'ok' });
  server = await start();
  expect(await check()).toEqual(well);
});

it('turns false when the blobs are gone, and true when they are there again', async () => {
  const check = createCheck();
  expect(await check()).toEqual(well);
  await rename(join(folder, 'blobs'), join(folder, 'unmounted'));
  expect(await check()).toEqual({ ...well, blobs: 'failed' });
  await rename(join(folder, 'unmounted'), join(folder, 'blobs'));
  expect(await check()).toEqual(well);
});
