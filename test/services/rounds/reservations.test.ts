import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { MAX_GATHERED_BYTES } from '../../../api/domain/body.ts';
import { reserveUpdateBlob } from '../../../api/services/rounds/reservations.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { blobs } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { get, keysOf } from '../../support/blobs.ts';

const SMALL = 1000;
const LARGE = 10 * MAX_GATHERED_BYTES;
const bytes = Buffer.from('some bytes');

let test: TestApp;
beforeEach(async () => {
  test = await createTestApp();
});
afterEach(() => test.close());

const rows = () => test.deps.db.pool.select().from(blobs);
/** Whether a key was announced before somebody had it: then it is there although nothing was waited for. */
async function announcedKeys(): Promise<Set<string>> {
  return new Set((await rows()).map(({ key }) => key));
}

async function takeMany(deps: Deps, count: number, bytes = SMALL) {
  const taken = Array.from({ length: count }, () => reserveUpdateBlob(deps, bytes));
  await Promise.all(taken.map(({ announced }) => announced));
  return taken.map(({ key }) => key);
}

it('what is announced ahead for small updates is open, as long as load lasts', async () => {
  const { deps } = test;
  await takeMany(deps, 100);
  await takeMany(deps, 1);
  const { key, opened } = await vi.waitUntil(() => {
    const place = reserveUpdateBlob(deps, SMALL);
    return place.opened && place;
  });
  expect(await deps.blobs.size(key)).toBe(0);
  await opened!.write(bytes);
  await opened!.commit();
  await vi.waitFor(async () => expect(await keysOf(deps.blobs, 'update/')).toEqual([key]), { timeout: 5000 });
  expect((await get(deps.blobs, key)).equals(bytes)).toBe(true);
  expect(await announcedKeys()).toContain(key);
});

it('nothing is open for large ones, nor in a store that gains nothing by it', async () => {
  const cases = [
    [test.deps, LARGE],
    [
      { ...test.deps, db: { ...test.deps.db }, blobs: { ...test.deps.blobs, openAhead: async () => [] } },
      SMALL,
    ],
  ] as const;
  for (const [deps, bytes] of cases) {
    await takeMany(deps, 100, bytes);
    await takeMany(deps, 1, bytes);
    const taken = Array.from({ length: 20 }, () => reserveUpdateBlob(deps, bytes));
    expect(taken.filter(({ opened }) => opened)).toEqual([]);
  }
  expect(await keysOf(test.deps.blobs, 'update/')).toEqual([]);
});

it('a store that opens nothing now keeps no update from being announced', async () => {
  const blobs = { ...test.deps.blobs, openAhead: () => Promise.reject(new Error('injected')) };
  const deps = { ...test.deps, blobs };
  const keys = [...(await takeMany(deps, 100)), ...(await takeMany(deps, 20))];
  const announced = await announcedKeys();
  for (const key of keys) expect(announced).toContain(key);
});

it('every blob is announced once its promise resolves, and none is given twice', async () => {
  const keys: string[] = [];
  for (let turn = 0; turn < 20; turn += 1) {
    const taken = await takeMany(test.deps, 8);
    const announced = await announcedKeys();
    for (const key of taken) expect(announced).toContain(key);
    keys.push(...taken);
  }
  expect(new Set(keys).size).toBe(keys.length);
  expect((await rows()).every(({ state }) => state === 'writing')).toBe(true);
});

it('few leave nothing behind; many find theirs announced ahead', async () => {
  const few = await takeMany(test.deps, 4);
  expect(await announcedKeys()).toEqual(new Set(few));
  await takeMany(test.deps, 100);
  await takeMany(test.deps, 1);
  const ahead = await announcedKeys();
  const { key } = reserveUpdateBlob(test.deps, SMALL);
  expect(ahead).toContain(key);
});

it('what was announced long ago is left to the sweeper', async () => {
  await takeMany(test.deps, 100);
  await takeMany(test.deps, 1);
  const old = await announcedKeys();
  test.clock.advance(6 * 60_000);
  const [key] = await takeMany(test.deps, 1);
  expect(old).not.toContain(key);
  test.clock.advance(55 * 60_000);
  await sweepBlobs(test.deps);
  const left = await announcedKeys();
  for (const swept of old) expect(left).not.toContain(swept);
  expect(left).toContain(key);
});

it('a failure is told to those who wait for it, and the next ask anew', async () => {
  const { pool } = test.deps.db;
  let failures = 1;
  const failing = new Proxy(pool, {
    get: (target, name) =>
      name === 'execute' && failures-- > 0
        ? () => Promise.reject(new Error('injected'))
        : Reflect.get(target, name),
  });
  const deps = { ...test.deps, db: { ...test.deps.db, pool: failing } };
  const together = [reserveUpdateBlob(deps, SMALL), reserveUpdateBlob(deps, SMALL)];
  const results = await Promise.allSettled(together.map(({ announced }) => announced));
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  const [key] = await takeMany(deps, 1);
  expect(await announcedKeys()).toEqual(new Set([key]));
});
