import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, openDatabase, type Queryable } from '../../api/store/database.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { isOutage } from '../../api/store/outage.ts';
import { waitUntil } from '../support/acceptance/waiting.ts';
import { type DatabaseRelay, startDatabaseRelay } from '../support/database-relays.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

it('ends sessions that stay idle in a transaction, so that a frozen process keeps no locks', async () => {
  const test = await createTestDatabase({ migrate: migrateDatabase });
  const db = openDatabase(test.connection, { connections: 1 });
  const [row] = await db.pool.execute<{ ms: string }>(
    sql`select setting as ms from pg_settings where name = 'idle_in_transaction_session_timeout'`,
  );
  expect(Number(row!.ms)).toBe(30_000);
  await db.close();
  await test.drop();
});

describe('a session that is ended by the database', () => {
  async function withLostSession(story: (db: Database, tx: Queryable) => Promise<void>) {
    const test = await createTestDatabase({ migrate: migrateDatabase });
    const db = openDatabase(test.connection, { connections: 2 });
    try {
      await db.client`create table notes (text text)`;
      const lost = db.transaction(async (tx) => {
        await tx.execute(sql`insert into notes values ('before')`);
        const [row] = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
        await db.client`select pg_terminate_backend(${row!.pid})`;
        await story(db, tx);
      });
      await expect(lost).rejects.toSatisfy(isOutage);
      const count = () => db.client`select count(*)::int as notes from notes`;
      for (let use = 0; use < 8; use += 1) expect(await count()).toEqual([{ notes: 0 }]);
    } finally {
      await db.close();
      await test.drop();
    }
  }

  it('fails its transaction, and what that still asks', () =>
    withLostSession(async (_db, tx) => {
      await sleep(50);
      await expect(tx.execute(sql`insert into notes values ('after')`)).rejects.toSatisfy(isOutage);
    }));

  it('lets nothing of its transaction run on the session that follows', () =>
    withLostSession(async (db, tx) => {
      await sleep(50);
      await Promise.all(Array.from({ length: 8 }, () => db.client`select pg_sleep(0.01)`));
      await expect(tx.execute(sql`insert into notes values ('after')`)).rejects.toSatisfy(isOutage);
    }));

  it('fails what a reservation of it still asks, and leaves the pool whole', async () => {
    const test = await createTestDatabase({ migrate: migrateDatabase });
    const db = openDatabase(test.connection, { connections: 2 });
    const session = await db.client.reserve();
    const [row] = await session<{ pid: number }[]>`select pg_backend_pid() as pid`;
    await db.client`select pg_terminate_backend(${row!.pid})`;
    await sleep(50);
    for (let use = 0; use < 2; use += 1) await expect(session`select 1`).rejects.toSatisfy(isOutage);
    session.release();
    await Promise.all(Array.from({ length: 8 }, () => db.client`select 1`));
    await db.close();
    await test.drop();
  });
});

describe('a pool whose connections break', () => {
  let test: TestDatabase;
  let relay: DatabaseRelay;
  let db: Database;
  beforeAll(async () => {
    test = await createTestDatabase({ migrate: migrateDatabase });
    relay = await startDatabaseRelay(test.connection);
    db = openDatabase(relay.connection, { connections: 3 });
  });
  afterAll(async () => {
    await db?.close();
    await relay?.close();
    await test?.drop();
  });

  const ask = () => db.client`select 1 as one`;
  /** Those that began later: severed ones sleep on. */
  const countSleepers = async (since: string) => {
    const others = openDatabase(test.connection, { connections: 1 });
    const [row] = await others.client<[{ count: number }]>`
      select count(*)::int as count from pg_stat_activity
      where application_name = ${db.applicationName} and state = 'active'
        and query like '%pg_sleep(60)%' and query_start >= ${since}::timestamptz`;
    await others.close();
    return row.count;
  };
  const sleepers = () => Array.from({ length: 3 }, () => db.client`select pg_sleep(60)`);

  it.each([
    ['close', 'CONNECTION_CLOSED'],
    ['refuse', '53300'],
  ] as const)('is told what becomes of the next ones (%s), and works again after it', async (mode, code) => {
    expect(await ask()).toEqual([{ one: 1 }]);
    const [before] = await db.client<[{ now: string }]>`select clock_timestamp()::text as now`;
    const broken = sleepers();
    for (const query of broken) query.catch(() => undefined);
    await waitUntil(
      'all of them have begun',
      async () => (await countSleepers(before.now)) === broken.length,
    );
    relay.mode = mode;
    relay.cut();
    for (const query of broken) await expect(query).rejects.toSatisfy(isOutage);
    for (let use = 0; use < 6; use += 1) await expect(ask()).rejects.toMatchObject({ code });
    relay.mode = 'relay';
    expect(await ask()).toEqual([{ one: 1 }]);
  });

  it('answers every query and ends every transaction, however often and in whatever moment they break', async () => {
    let isOver = false;
    const failures: unknown[] = [];
    const untilOver = async (work: () => Promise<unknown>) => {
      while (!isOver) await work().catch((error: unknown) => failures.push(error));
    };
    const twice = (tx: Queryable) => Promise.all([tx.execute(sql`select 1`), tx.execute(sql`select 2`)]);
    const load = Array.from({ length: 6 }, () => [untilOver(ask), untilOver(() => db.transaction(twice))]);
    const others = openDatabase(test.connection, { connections: 1 });
    for (let death = 0; death < 20; death += 1) {
      await others.client`
        select pg_terminate_backend(pid) from pg_stat_activity where application_name = ${db.applicationName}`;
      await sleep(20);
    }
    isOver = true;
    await Promise.all(load.flat());
    await others.close();
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.filter((error) => !isOutage(error))).toEqual([]);
    expect(await ask()).toEqual([{ one: 1 }]);
  });
});
