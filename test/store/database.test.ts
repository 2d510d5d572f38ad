import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { describe, expect, it } from 'vitest';
import { type Database, openDatabase, type Queryable } from '../../api/store/database.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { isOutage } from '../../api/store/outage.ts';
import { createTestDatabase } from '../support/postgres.ts';

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
