import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../api/store/database.ts';
import { channels, notify } from '../../api/store/journal/channels.ts';
import { type Listener, startListener } from '../../api/store/journal/listener.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { waitUntil } from '../support/acceptance/waiting.ts';
import { startDatabaseRelay } from '../support/database-relays.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

let test: TestDatabase;
let db: Database;
let listener: Listener;

beforeAll(async () => {
  test = await createTestDatabase({ migrate: migrateDatabase });
  db = openDatabase(test.connection, { connections: 3 });
  listener = await startListener(db);
});
afterAll(async () => {
  await db?.close();
  await test?.drop();
});

/** Resolves with the next payload of a channel. */
const next = (channel: (typeof channels)[keyof typeof channels]) =>
  new Promise<string>((resolve) => {
    const stop = listener.subscribe(channel, (payload) => {
      stop();
      resolve(payload);
    });
  });

async function notifyAndHear(payload: string): Promise<void> {
  const heard = next(channels.events);
  await notify(db.pool, channels.events, payload);
  await heard;
}

it('wakes every subscriber of the channel that was notified, and no other', async () => {
  const heard: string[] = [];
  const stops = [
    listener.subscribe(channels.events, (payload) => heard.push(`a ${payload}`)),
    listener.subscribe(channels.events, (payload) => heard.push(`b ${payload}`)),
    listener.subscribe(channels.work, (payload) => heard.push(`work ${payload}`)),
  ];
  await notifyAndHear('one');
  stops[0]!();
  await notifyAndHear('two');
  for (const stop of stops) stop();
  expect(heard).toEqual(['a one', 'b one', 'b two']);
});

it('uses one connection for all channels', async () => {
  const rows = await db.pool.execute(
    sql`select pid from pg_stat_activity where datname = current_database() and query ilike 'listen%'`,
  );
  expect(rows).toHaveLength(1);
});

it('hears again after a silence in which nothing was said to it', async () => {
  const relay = await startDatabaseRelay(test.connection);
  const far = openDatabase(relay.connection, { connections: 1, timeoutMs: 1000 });
  const heard: string[] = [];
  await far.listen(channels.events, (payload) => heard.push(payload));
  expect(heard).toEqual(['']);
  relay.silence();
  relay.mode = 'relay';
  await waitUntil('it listens anew', () => heard.length === 2);
  await notify(db.pool, channels.events, 'back');
  await waitUntil('it hears', () => heard.includes('back'));
  expect(heard).toEqual(['', '', 'back']);
  await far.close();
  await relay.close();
});

it('wakes everybody after its connection was lost, and hears again', async () => {
  const woken = Promise.all([next(channels.events), next(channels.assignments), next(channels.work)]);
  await db.pool.execute(
    sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query ilike 'listen%'`,
  );
  expect(await woken).toEqual(['', '', '']);
  const heard = next(channels.events);
  await notify(db.pool, channels.events, 'again');
  expect(await heard).toBe('again');
});
