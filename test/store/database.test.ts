import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import type postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Database, guardTransactions, openDatabase, type Queryable } from '../../api/store/database.ts';
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

describe('a pool that waits for an answer for a bounded time', () => {
  let test: TestDatabase;
  let relay: DatabaseRelay;
  let db: Database;
  beforeAll(async () => {
    test = await createTestDatabase({ migrate: migrateDatabase });
    relay = await startDatabaseRelay(test.connection);
    db = openDatabase(relay.connection, { connections: 3, timeoutMs: 1000 });
  });
  afterAll(async () => {
    await db?.close();
    await relay?.close();
    await test?.drop();
  });

  // The driver sends a query when somebody waits for it.
  const ask = async () => await db.client`select pg_backend_pid() as pid`;
  const times = <T>(count: number, work: () => Promise<T>) => Array.from({ length: count }, work);
  const codeOf = (error: unknown) => (error as { code?: string }).code;
  /** What each was told: its answer's number of rows, or the code of an outage. */
  const outcomesOf = async (asked: Promise<unknown>[]) =>
    (await Promise.allSettled(asked)).map((end) =>
      end.status === 'fulfilled' ? end.value : isOutage(end.reason) ? codeOf(end.reason) : end.reason,
    );

  it('has a statement that takes longer cancelled, and goes on with its connection', async () => {
    const session = await db.client.reserve();
    const [before] = await session`select pg_backend_pid() as pid`;
    const slow = await session`select pg_sleep(60)`.catch((error: unknown) => error);
    expect([codeOf(slow), isOutage(slow)]).toEqual(['57014', true]);
    expect(await session`select pg_backend_pid() as pid`).toEqual([before]);
    session.release();
  });

  it('has the database end its sessions, should we be what has vanished', async () => {
    const direct = openDatabase(test.connection, { connections: 1, timeoutMs: 20_000 });
    const rows = await direct.client<{ name: string; value: string }[]>`
      select name, setting as value from pg_settings
      where name ~ '^(statement_timeout|tcp_user_timeout|tcp_keepalives_.*)$'`;
    await direct.close();
    // A Unix socket has no TCP, and says so.
    const tcp = (value: string) => (test.connection.host.startsWith('/') ? '0' : value);
    expect(Object.fromEntries(rows.map(({ name, value }) => [name, value]))).toEqual({
      statement_timeout: '15000',
      tcp_keepalives_count: tcp('5'),
      tcp_keepalives_idle: tcp('10'),
      tcp_keepalives_interval: tcp('2'),
      tcp_user_timeout: tcp('20000'),
    });
  });

  it('waits without end where it was not told a time', async () => {
    const patient = openDatabase(test.connection, { connections: 1 });
    const settings = await patient.client`
      select name from pg_settings where name in ('statement_timeout', 'tcp_user_timeout') and setting <> '0'`;
    expect(settings).toEqual([]);
    await patient.close();
  });

  it('gives up a database that has vanished without a word, and is whole when it is back', async () => {
    const held = await db.client.reserve();
    await held`select 1`;
    await Promise.all(times(2, ask));
    relay.silence();
    // More than there are connections: what is under way and what waits for its turn, in transactions and without.
    const session = async () => await held`select 1`;
    const transaction = () => db.transaction((tx) => tx.execute(sql`select 1`));
    const reservation = () => sleep(10).then(() => db.client.reserve());
    const asked = [session(), transaction(), ...times(8, ask), transaction(), reservation()];
    expect(new Set(await outcomesOf(asked))).toEqual(new Set(['ETIMEDOUT']));
    expect(await outcomesOf([session()])).toEqual(['CONNECTION_CLOSED']);
    held.release();
    // Nor can new connections be made.
    expect(new Set(await outcomesOf(times(8, ask)))).toEqual(new Set(['CONNECT_TIMEOUT']));
    relay.mode = 'relay';
    expect((await Promise.all(times(8, ask))).flat()).toHaveLength(8);
    expect(await transaction()).toHaveLength(1);
  });

  it('drops connections that nobody had asked anything, with the one that was silent', async () => {
    const slowly = async () => await db.client`select pg_backend_pid() as pid, pg_sleep(0.1)`;
    await waitUntil('all are open', async () => {
      const pids = (await Promise.all(times(3, slowly))).map(([row]) => row!.pid);
      return new Set(pids).size === 3;
    });
    relay.silence();
    expect(await outcomesOf([ask()])).toEqual(['ETIMEDOUT']);
    relay.mode = 'relay';
    for (let use = 0; use < 6; use += 1) expect(await ask()).toHaveLength(1);
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

describe('a statement of its own', () => {
  const insert = (text: string) => ({
    text: 'insert into notes values ($1) returning text',
    parameters: [text],
  });
  let test: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    test = await createTestDatabase({ migrate: migrateDatabase });
    db = openDatabase(test.connection, { connections: 1 });
    await db.client`create table notes (text text)`;
  });
  afterAll(async () => {
    await db.close();
    await test.drop();
  });
  const notes = async () => (await db.client`select text from notes order by text`).map(({ text }) => text);

  it('answers with its rows', async () => {
    expect(await db.run(insert('a'))).toEqual([{ text: 'a' }]);
    expect(await notes()).toEqual(['a']);
  });

  it('tells its error, and leaves the connection usable', async () => {
    const broken = { text: 'select 1 / $1::int', parameters: [0] };
    await expect(db.run(broken)).rejects.toMatchObject({ code: '22012' });
    expect(await db.run({ text: 'select $1::int as n', parameters: [1] })).toEqual([{ n: 1 }]);
  });

  it('is refused where a guard would have to be heard', async () => {
    const guarded = guardTransactions(
      async () => {},
      () => db.run(insert('d')),
    );
    await expect(guarded).rejects.toThrow('guarded');
    expect(await notes()).not.toContain('d');
  });

  it('fails as an outage when the connection goes', async () => {
    const other = openDatabase(test.connection, { connections: 1 });
    const kill = { text: 'select pg_terminate_backend(pg_backend_pid(), $1::bigint)', parameters: [0] };
    await expect(other.run(kill)).rejects.toSatisfy(isOutage);
    expect(await other.run(insert('f'))).toEqual([{ text: 'f' }]);
    await other.close();
  });

  it('is refused after the end', async () => {
    const ended = openDatabase(test.connection, { connections: 1 });
    await ended.run(insert('i'));
    await ended.close();
    await expect(ended.run(insert('j'))).rejects.toMatchObject({ code: 'CONNECTION_ENDED' });
    expect(await notes()).not.toContain('j');
  });

  it.each([
    ['that cannot be planned any longer', 'grown', 'alter table grown add column more int'],
    ['that the session has forgotten', 'kept', 'deallocate all'],
  ])(
    'is prepared again in place of one %s, and a transaction with it is never run in part',
    async (...what) => {
      const [, name, change] = what;
      await db.client.unsafe(`create table ${name} (a int); insert into ${name} values (1)`);
      const wide = { text: `select * from ${name} where a = $1::int`, parameters: [1] };
      await db.run(wide);
      await db.client.unsafe(change);
      const both = (text: string) =>
        db.transaction(async (tx) => {
          await tx.execute(sql`insert into notes values (${text})`);
          const client = (tx as unknown as { session: { client: postgres.TransactionSql } }).session.client;
          // What comes together with it finds a transaction that has failed already, and says so.
          await Promise.all([client.unsafe(wide.text, wide.parameters), tx.execute(sql`select 1`)]);
        });
      await expect(both('l')).rejects.toSatisfy(isOutage);
      expect(await notes()).not.toContain('l');
      expect(await db.run(wide)).toEqual([expect.objectContaining({ a: 1 })]);
      await both('m');
      expect(await notes()).toContain('m');
      await db.client`delete from notes where text = 'm'`;
    },
  );
});

describe('reservations', () => {
  let test: TestDatabase;
  beforeAll(async () => {
    test = await createTestDatabase({ migrate: migrateDatabase });
  });
  afterAll(() => test.drop());

  it('wait for a connection, and get the one that follows a lost one', async () => {
    const pool = openDatabase(test.connection, { connections: 2 });
    const other = openDatabase(test.connection, { connections: 1 });
    const held = Promise.withResolvers<void>();
    const pids: number[] = [];
    const holders = Promise.allSettled(
      [0, 1].map(() =>
        pool.transaction(async (tx) => {
          const [row] = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
          pids.push(row!.pid);
          await held.promise;
        }),
      ),
    );
    await waitUntil('all connections are taken', async () => pids.length === 2);
    const use = async () => {
      const session = await pool.client.reserve();
      const rows = await session`select 1 as n`;
      session.release();
      return rows;
    };
    const waiting = [use(), use()];
    await sleep(50);
    await other.client`select pg_terminate_backend(${pids[0]!})`;
    await expect(Promise.all(waiting)).resolves.toEqual([[{ n: 1 }], [{ n: 1 }]]);
    held.resolve();
    await holders;
    await pool.close();
    await other.close();
  });

  it('are refused after the end', async () => {
    const ended = openDatabase(test.connection, { connections: 1 });
    await ended.client`select 1`;
    await ended.close();
    await expect(ended.client.reserve()).rejects.toMatchObject({ code: 'CONNECTION_ENDED' });
  });
});
