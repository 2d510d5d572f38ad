import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../api/store/database.ts';
import { recordAudit } from '../../api/store/journal/audit.ts';
import { listEvents } from '../../api/store/journal/event-views.ts';
import { recordEvent } from '../../api/store/journal/events.ts';
import { chainAudit, numberEvents, verifyAudit } from '../../api/store/journal/journal.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { auditEntries } from '../../api/store/schema.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

let test: TestDatabase;
let db: Database;
const createdAt = new Date('2026-03-01T10:00:00.123Z');

beforeAll(async () => {
  test = await createTestDatabase({ migrate: migrateDatabase });
  db = openDatabase(test.connection, { connections: 12 });
});
afterAll(async () => {
  await db?.close();
  await test?.drop();
});
beforeEach(async () => {
  await db.pool.execute(sql`truncate events, audit_entries`);
});

const event = (type: string) => ({ federationId: 'default', type, subject: { n: type }, createdAt });
const entry = (details: Record<string, unknown>) => ({
  federationId: 'default',
  actor: 'operator:a',
  action: 'run.create',
  target: 'run:b',
  details,
  createdAt,
});
const seen = async (after = 0) =>
  (await listEvents(db.pool, { federationId: 'default', after, types: [] }, 10_000)).map(
    ({ position, type }) => [position, type],
  );

describe('numberEvents', () => {
  it('gives an event that commits late a later position than those that readers may have passed', async () => {
    const late = Promise.withResolvers<void>();
    const inserted = Promise.withResolvers<void>();
    const slow = db.transaction(async (tx) => {
      await recordEvent(tx, event('slow'));
      inserted.resolve();
      await late.promise;
    });
    await inserted.promise;
    await recordEvent(db.pool, event('fast'));
    await numberEvents(db);
    expect(await seen()).toEqual([[1, 'fast']]);
    late.resolve();
    await slow;
    await numberEvents(db);
    expect(await seen(1)).toEqual([[2, 'slow']]);
  });

  it('leaves no gap for a transaction that rolls back', async () => {
    await db
      .transaction(async (tx) => {
        await recordEvent(tx, event('lost'));
        throw new Error('rolled back');
      })
      .catch(() => undefined);
    await recordEvent(db.pool, event('kept'));
    await numberEvents(db);
    expect(await seen()).toEqual([[1, 'kept']]);
  });

  it('shows a resuming reader every event once, while many write and number at once', async () => {
    const read: number[] = [];
    let writing = true;
    const reader = (async () => {
      for (let more = true; more; ) {
        more = writing;
        await numberEvents(db);
        read.push(...(await seen(read.at(-1) ?? 0)).map(([position]) => position as number));
      }
    })();
    const writer = async (name: number) => {
      for (let n = 0; n < 40; n += 1) {
        await db.transaction(async (tx) => {
          await recordEvent(tx, event(`${name}.${n}`));
          if (n % 3 === 0) await numberEvents(db);
        });
      }
    };
    await Promise.all([0, 1, 2, 3].map(writer));
    writing = false;
    await reader;
    expect(read).toEqual(Array.from({ length: 160 }, (_, index) => index + 1));
  });

  it('numbers more than one batch, in the order of insertion', async () => {
    await db.pool.execute(sql`
      insert into events (federation_id, type, subject, created_at)
      select 'default', 'n' || n, '{}', now() from generate_series(1, 2300) as n`);
    await numberEvents(db);
    const rows = await seen();
    expect(rows).toHaveLength(2300);
    expect(rows.every(([position, type]) => type === `n${position}`)).toBe(true);
  });
});

describe('the audit chain', () => {
  const details = [
    {},
    { b: 1, a: { z: [1, 2.5, 1e21, -0.1], y: null } },
    { text: 'Grüße \u{1F600} "quoted"\n', empty: '' },
    { big: 9007199254740991, tiny: 5e-324 },
  ];

  beforeEach(async () => {
    for (const some of details) await recordAudit(db.pool, entry(some));
    await chainAudit(db);
  });

  it('holds, also when it is extended by several at once', async () => {
    expect(await verifyAudit(db)).toBeUndefined();
    await Promise.all(
      Array.from({ length: 20 }, async (_, n) => {
        await recordAudit(db.pool, entry({ n }));
        await chainAudit(db);
      }),
    );
    expect(await verifyAudit(db)).toBeUndefined();
    const rows = await db.pool.select().from(auditEntries);
    expect(rows.map(({ position }) => position).sort((a, b) => a! - b!)).toEqual(
      Array.from({ length: 24 }, (_, index) => index + 1),
    );
  });

  it.each([
    ['details', { details: { b: 2 } }],
    ['actor', { actor: 'operator:b' }],
    ['action', { action: 'run.stop' }],
    ['target', { target: 'run:c' }],
    ['federation', { federationId: 'other' }],
    ['time', { createdAt: new Date('2026-03-01T10:00:00.124Z') }],
    ['hash', { hash: 'f'.repeat(64) }],
    ['previous hash', { previousHash: 'f'.repeat(64) }],
  ])('breaks where the %s of an entry was changed', async (_name, change) => {
    await db.pool.update(auditEntries).set(change).where(eq(auditEntries.position, 2));
    expect(await verifyAudit(db)).toBe(2);
  });

  it('breaks where an entry was removed', async () => {
    await db.pool.delete(auditEntries).where(eq(auditEntries.position, 3));
    expect(await verifyAudit(db)).toBe(3);
  });

  it('breaks where an entry was put in', async () => {
    await db.pool.execute(sql`update audit_entries set position = position + 10 where position > 1`);
    await db.pool.execute(sql`
      insert into audit_entries (position, federation_id, actor, action, target, details, created_at, previous_hash, hash)
      select 2, federation_id, actor, action, target, details, created_at, hash, hash from audit_entries where position = 1`);
    expect(await verifyAudit(db)).toBe(2);
  });
});
