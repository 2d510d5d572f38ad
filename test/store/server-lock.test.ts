import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../api/store/database.ts';
import { acquireServerLock, DatabaseInUseError } from '../../api/store/server-lock.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

let database: TestDatabase;
const opened: Database[] = [];

function open(): Database {
  const db = openDatabase(database.connection, { connections: 2 });
  opened.push(db);
  return db;
}

beforeAll(async () => {
  database = await createTestDatabase({ migrate: async () => {}, template: 'empty' });
});

afterAll(async () => {
  await Promise.all(opened.map((db) => db.close()));
  await database.drop();
});

it('lets one process in at a time, and says since when it is there', async () => {
  const unlock = await acquireServerLock(open());
  const second = open();
  const refusal = await acquireServerLock(second).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(DatabaseInUseError);
  expect((refusal as Error).message).toMatch(/since \d{4}-\d\d-\d\dT/);
  await unlock();
  const release = await acquireServerLock(second);
  await release();
});

it('is free as soon as the session of its holder ends', async () => {
  await acquireServerLock(open());
  const other = open();
  const waiting = acquireServerLock(other);
  await other.client`
    select pg_terminate_backend(pid) from pg_locks
    where locktype = 'advisory' and granted and database = (
      select oid from pg_database where datname = current_database())`;
  await (await waiting)();
});
