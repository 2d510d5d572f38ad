import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { MAX_GATHERED_BYTES } from '../../../api/domain/body.ts';
import { reserveUpdateBlob } from '../../../api/services/rounds/reservations.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { type BlobStore, BlobUnavailableError } from '../../../api/store/blobs/blob-store.ts';
import { blobs } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { get, keysOf } from '../../support/blobs.ts';
import {
  createTestWorker,
  openAssignments,
  readValues,
  seedFederation,
  sendUpdate,
} from '../../support/rounds/rounds.ts';

const isLinux = process.platform === 'linux';
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

/** As bodies come that are whole at once. */
async function claimMany(deps: Deps, count: number, bytes = SMALL) {
  const reserved = Array.from({ length: count }, () => reserveUpdateBlob(deps, bytes));
  const places = reserved.map((reservation) => reservation.claim(bytes === SMALL));
  await Promise.all(places.map(({ announced }) => announced));
  return places;
}

async function takeMany(deps: Deps, count: number, bytes = SMALL) {
  return (await claimMany(deps, count, bytes)).map(({ key }) => key);
}

/** Until one finds its place announced, as load has it. */
async function takeReady(deps: Deps, bytes = SMALL) {
  await takeMany(deps, 100, bytes);
  return await vi.waitUntil(async () => {
    const ahead = await announcedKeys();
    const [place] = await claimMany(deps, 1, bytes);
    return ahead.has(place!.key) && place;
  });
}

it.runIf(isLinux)('what is announced ahead for small updates is open, as long as load lasts', async () => {
  const { deps } = test;
  const { key, opened } = await takeReady(deps);
  expect(await deps.blobs.size(key)).toBe(0);
  await opened!.write(bytes);
  await opened!.commit();
  await vi.waitFor(async () => expect(await keysOf(deps.blobs, 'update/')).toEqual([key]), { timeout: 5000 });
  expect((await get(deps.blobs, key)).equals(bytes)).toBe(true);
  const [later] = await claimMany(deps, 1);
  expect(later!.opened).toBeUndefined();
});

it.runIf(isLinux)('an open place is left to one whose body is there at once', async () => {
  const { deps } = test;
  await takeReady(deps);
  const parts = reserveUpdateBlob(deps, SMALL).claim(false);
  expect(parts.opened).toBeUndefined();
  await parts.announced;
  const refused = reserveUpdateBlob(deps, SMALL);
  await refused.abandon();
  expect(reserveUpdateBlob(deps, SMALL).claim(true).opened).toBeDefined();
  expect((await rows()).every(({ state }) => state === 'writing')).toBe(true);
});

it('what was claimed and failed is given to the sweeper', async () => {
  const reservation = reserveUpdateBlob(test.deps, SMALL);
  const { key, announced } = reservation.claim(true);
  await announced;
  await reservation.abandon();
  expect(await rows()).toMatchObject([{ key, state: 'dead' }]);
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
    const place = await takeReady(deps, bytes);
    expect(place.opened).toBeUndefined();
  }
  expect(await keysOf(test.deps.blobs, 'update/')).toEqual([]);
});

it("what could not be opened ahead is nobody's place", async () => {
  const asked: string[] = [];
  const openAhead: BlobStore['openAhead'] = (keys) => {
    asked.push(...keys);
    return Promise.reject(new Error('injected'));
  };
  const deps = { ...test.deps, blobs: { ...test.deps.blobs, openAhead } };
  const taken: string[] = [];
  for (let turn = 0; turn < 10; turn += 1) taken.push(...(await takeMany(deps, 20)));
  expect(asked.length).toBeGreaterThan(0);
  const announced = await announcedKeys();
  for (const key of taken) {
    expect(announced).toContain(key);
    expect(asked).not.toContain(key);
  }
});

it.runIf(isLinux)('a ready place is promised once; who waits no longer leaves it to another', async () => {
  const { deps } = test;
  await takeReady(deps);
  await reserveUpdateBlob(deps, SMALL).claim(false).announced;
  const many = Array.from({ length: 200 }, () => reserveUpdateBlob(deps, SMALL));
  const places = many.map((reservation) => reservation.claim(true));
  await Promise.all(places.map(({ announced }) => announced));
  expect(new Set(places.map(({ key }) => key)).size).toBe(200);
  const ready = places.filter(({ announced }) => !announced).length;
  expect(ready).toBeGreaterThan(0);
  expect(ready).toBeLessThan(200);
});

it('nobody waits for a store that takes long to open', async () => {
  const openAhead = () => new Promise<never>(() => undefined);
  const deps = { ...test.deps, blobs: { ...test.deps.blobs, openAhead } };
  for (let turn = 0; turn < 5; turn += 1) await takeMany(deps, 40);
  const keys = await takeMany(deps, 1);
  expect(await announcedKeys()).toContain(keys[0]);
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
  await takeReady(test.deps);
});

it('what was announced long ago is left to the sweeper', async () => {
  await takeReady(test.deps);
  // Behind all that is under way.
  await reserveUpdateBlob(test.deps, SMALL).claim(false).announced;
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
  const together = [reserveUpdateBlob(deps, SMALL), reserveUpdateBlob(deps, SMALL)].map((each) =>
    each.claim(true),
  );
  const results = await Promise.allSettled(together.map(({ announced }) => announced));
  expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  const [key] = await takeMany(deps, 1);
  expect(await announcedKeys()).toEqual(new Set([key]));
});

describe.runIf(isLinux)('an update under load', () => {
  const ones = Array<number>(8).fill(1);

  async function openRound(deps: Deps) {
    const { devices } = await seedFederation(deps, { devices: 1, settings: { quorum: 1, capacity: 1 } });
    const worker = createTestWorker(deps);
    await worker.turn();
    await worker.close();
    const [assignment] = await openAssignments(deps, devices);
    return assignment!;
  }

  it('is written to what is open already', async () => {
    const create = vi.fn(test.deps.blobs.create);
    const deps = { ...test.deps, blobs: { ...test.deps.blobs, create } };
    const assignment = await openRound(deps);
    await takeReady(deps);
    create.mockClear();
    expect(await sendUpdate(deps, assignment, ones)).toMatchObject({ status: 'accepted' });
    expect(create).not.toHaveBeenCalled();
    const live = (await rows()).filter(({ key, state }) => key.startsWith('update/') && state === 'live');
    expect(await readValues(deps, live[0]!.key)).toEqual(ones);
  });

  it.each(['write', 'commit'] as const)(
    'that cannot be stored there (%s) may be sent again',
    async (broken) => {
      const outage = new BlobUnavailableError('the disk is full');
      const openAhead: BlobStore['openAhead'] = async (keys) => {
        const writers = await test.deps.blobs.openAhead(keys);
        return writers.map((writer) => ({
          bytes: 0,
          write: (chunks) => writer.write(chunks),
          commit: () => writer.commit(),
          abort: () => writer.abort(),
          [broken]: () => Promise.reject(outage),
        }));
      };
      const deps = { ...test.deps, db: { ...test.deps.db }, blobs: { ...test.deps.blobs, openAhead } };
      const assignment = await openRound(deps);
      await takeReady(deps);
      await expect(sendUpdate(deps, assignment, ones)).rejects.toThrow();
      const dead = (await rows()).filter(({ state }) => state === 'dead');
      expect(dead).toHaveLength(1);
      expect(await test.deps.blobs.size(dead[0]!.key)).toBeUndefined();
      expect(await sendUpdate(test.deps, assignment, ones)).toMatchObject({ status: 'accepted' });
    },
  );
});
