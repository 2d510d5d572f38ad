import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../api/store/database.ts';
import { startDatabaseClock } from '../../api/store/database-clock.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
let database: TestDatabase;
let db: Database;

/** A database whose clock is an hour ahead of ours: its own clock_timestamp() is found before PostgreSQL's. */
beforeAll(async () => {
  database = await createTestDatabase({ migrate: async () => {}, template: 'empty' });
  const setup = openDatabase(database.connection, { connections: 1 });
  await setup.client`create schema ahead`;
  await setup.client`
    create function ahead.clock_timestamp() returns timestamptz language sql
    as $$ select pg_catalog.clock_timestamp() + interval '1 hour' $$`;
  await setup.client.unsafe(
    `alter database ${database.connection.database} set search_path = ahead, pg_catalog, public`,
  );
  await setup.close();
  db = openDatabase(database.connection, { connections: 2 });
});

afterAll(async () => {
  await db.close();
  await database.drop();
});

it('tells the time of the database, not that of this machine', async () => {
  const clock = await startDatabaseClock(db, () => {});
  expect(Math.abs(clock.now().getTime() - Date.now() - HOUR_MS)).toBeLessThan(MINUTE_MS);
  clock.stop();
});

it('never runs backwards and moves on by itself', async () => {
  const clock = await startDatabaseClock(db, () => {});
  const first = clock.now().getTime();
  const times = Array.from({ length: 10_000 }, () => clock.now().getTime());
  await new Promise((resolve) => setTimeout(resolve, 5));
  times.push(clock.now().getTime());
  expect(times.every((time, index) => time >= (times[index - 1] ?? first))).toBe(true);
  expect(times.at(-1)).toBeGreaterThan(first);
  clock.stop();
});

it('does not start without an answer', async () => {
  const closed = openDatabase(database.connection, { connections: 1 });
  await closed.close();
  await expect(startDatabaseClock(closed, () => {})).rejects.toThrow();
});
