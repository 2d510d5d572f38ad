import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { FedEdgeError } from '../../api/domain/errors.ts';
import { type Answer, answerOnce } from '../../api/services/journal/idempotency.ts';
import { type Database, openDatabase } from '../../api/store/database.ts';
import { recordEvent } from '../../api/store/journal/events.ts';
import { forgetKeys } from '../../api/store/journal/idempotency.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { events, idempotencyKeys } from '../../api/store/schema.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

let test: TestDatabase;
let db: Database;
let now = new Date('2026-03-01T10:00:00Z');
const pass = (ms: number) => {
  now = new Date(now.getTime() + ms);
};

beforeAll(async () => {
  test = await createTestDatabase({ migrate: migrateDatabase });
  db = openDatabase(test.connection, { connections: 12 });
});
afterAll(async () => {
  await db?.close();
  await test?.drop();
});

const deps = () => ({ db, clock: { now: () => now }, log: pino({ level: 'silent' }) });
const request = (key: string, changes: { requestHash?: string; secret?: string } = {}) => ({
  principal: { kind: 'operator', id: 'a', federationId: 'default', role: 'operator' } as const,
  key,
  requestHash: 'hash',
  secret: 'Bearer one',
  ...changes,
});
const made = (body: string): Answer => ({ status: 201, headers: { location: '/x' }, body });

/** An effect that can be counted. */
const effect = (type: string) =>
  db.transaction((tx) => recordEvent(tx, { federationId: 'default', type, subject: {}, createdAt: now }));
const countEffects = async (type: string) =>
  (await db.pool.select({ type: events.type }).from(events)).filter((row) => row.type === type).length;
const codeOf = (answer: Promise<unknown>) =>
  answer.then(
    () => 'answered',
    (error: FedEdgeError) => error.code,
  );

it('gives 8 concurrent requests one effect and the first answer', async () => {
  const answers = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      answerOnce(deps(), request('eight'), async () => {
        await effect('eight');
        return made(`by ${n}`);
      }),
    ),
  );
  expect(await countEffects('eight')).toBe(1);
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(new Set(answers.map(({ answer }) => answer.body)).size).toBe(1);
  expect(answers[3]!.answer).toMatchObject({ status: 201, headers: { location: '/x' } });
});

it('refuses another request under the same key', async () => {
  await answerOnce(deps(), request('other'), async () => made('first'));
  const code = await codeOf(answerOnce(deps(), request('other', { requestHash: 'x' }), async () => made('')));
  expect(code).toBe('idempotency_key_reused');
});

it('keeps answers unreadable without the credentials of the request', async () => {
  await answerOnce(deps(), request('secret'), async () => {
    await effect('secret');
    return made('a secret that is shown once');
  });
  const rows = await db.pool.select().from(idempotencyKeys);
  expect(JSON.stringify(rows)).not.toContain('shown once');
  expect(Buffer.from(rows.find(({ key }) => key === 'secret')!.answer!, 'base64').toString()).not.toContain(
    'shown once',
  );
  const other = request('secret', { secret: 'Bearer two' });
  expect(await codeOf(answerOnce(deps(), other, async () => made('')))).toBe('idempotency_answer_lost');
});

it('frees the key of a refused request', async () => {
  const refusal = { status: 409, headers: {}, body: 'no' };
  expect((await answerOnce(deps(), request('refused'), async () => refusal)).answer).toBe(refusal);
  const again = await answerOnce(deps(), request('refused', { requestHash: 'x' }), async () => made('yes'));
  expect(again).toMatchObject({ replayed: false, answer: { body: 'yes' } });
});

it('does not repeat an effect whose request failed after its commit', async () => {
  await answerOnce(deps(), request('failed late'), async () => {
    await effect('failed late');
    return { status: 500, headers: {}, body: '' };
  });
  const repeat = answerOnce(deps(), request('failed late'), async () => {
    await effect('failed late');
    return made('');
  });
  expect(await codeOf(repeat)).toBe('idempotency_answer_lost');
  expect(await countEffects('failed late')).toBe(1);
});

it('takes over from a request that died without an effect, and fences it off should it live', async () => {
  const started = Promise.withResolvers<void>();
  const thawed = Promise.withResolvers<void>();
  const frozen = codeOf(
    answerOnce(deps(), request('frozen'), async () => {
      started.resolve();
      await thawed.promise;
      await effect('frozen');
      return made('by the frozen one');
    }),
  );
  await started.promise;
  pass(60_000);
  const second = await answerOnce(deps(), request('frozen'), async () => {
    await effect('frozen');
    return made('by the second');
  });
  thawed.resolve();
  expect(second.replayed).toBe(false);
  expect(await frozen).toBe('idempotency_in_progress');
  expect(await countEffects('frozen')).toBe(1);
});

it('says so when a server was killed between the effect and its answer', async () => {
  const started = Promise.withResolvers<void>();
  void answerOnce(deps(), request('killed'), async () => {
    await effect('killed');
    started.resolve();
    return new Promise<never>(() => undefined);
  });
  await started.promise;
  const repeat = () => codeOf(answerOnce(deps(), request('killed'), async () => made('again')));
  expect(await repeat()).toBe('idempotency_in_progress');
  pass(60_000);
  expect(await repeat()).toBe('idempotency_answer_lost');
});

it('forgets old keys', async () => {
  pass(1);
  await answerOnce(deps(), request('young'), async () => made(''));
  const before = await db.pool.select().from(idempotencyKeys);
  expect(await forgetKeys(db.pool, now)).toBe(before.length - 1);
  expect((await db.pool.select().from(idempotencyKeys)).map(({ key }) => key)).toEqual(['young']);
});
