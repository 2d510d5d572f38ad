import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { createFoldThread } from '../../../api/kernels/folds/folds.ts';
import { createFolder } from '../../../api/services/aggregation/folding.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { type BlobStore, BlobUnavailableError, blobBytes } from '../../../api/store/blobs/blob-store.ts';
import { takeLease } from '../../../api/store/rounds/leases.ts';
import { checkpoints, leases, updates } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { inChunks } from '../../support/blobs.ts';
import { damageBlob, findFaults, replaceBlob, truncateBlob } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  defaultSettings,
  openAssignments,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
const workers: ReturnType<typeof createTestWorker>[] = [];
beforeEach(async () => {
  test = await createTestApp();
});
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
  await test.close();
});

function startWorker(holder = 'test', deps: Deps = test.deps) {
  const worker = createTestWorker(deps, { holder });
  workers.push(worker);
  return worker;
}

/** A checkpoint before every update but the first. */
function checkpointing(deps: Deps): Deps {
  return { ...deps, config: { ...deps.config, checkpointUpdates: 1 } };
}

const count = 6;
const settings = { quorum: 2, capacity: count };
const valuesOf = (i: number) => Array.from({ length: 8 }, (_, j) => Math.fround(Math.sin(i * 8 + j) / 3));

/** A collecting round of six devices; `send(i)` sends the i-th update, always the same values and weight. */
async function openRound(labels = { site: 'a' }) {
  const seeded = await seedFederation(test.deps, { devices: count, settings, labels });
  await advanceRounds(test.deps);
  const open = await openAssignments(test.deps, seeded.devices);
  const [round] = await view.rounds(test.deps, seeded.runId);
  const send = (i: number) => sendUpdate(test.deps, open[i]!, valuesOf(i), 3 * i + 1);
  const version = async () => (await view.versions(test.deps, seeded.modelId))[1];
  const current = async () => (await view.rounds(test.deps, seeded.runId))[0]!;
  const updates = () => view.updates(test.deps, round!.id);
  const { deadlineMs } = defaultSettings;
  return { ...seeded, roundId: round!.id, deadlineMs, open, send, version, current, updates };
}

async function sendAll({ send }: { send(i: number): Promise<unknown> }, from = 0) {
  for (let i = from; i < count; i += 1) await send(i);
}

/** The digest of the version that nothing disturbs; of one update less, if its device never sends it. */
async function undisturbedDigest(without?: number): Promise<string> {
  const round = await openRound({ site: 'undisturbed' });
  await sendAll({ send: async (i) => i !== without && round.send(i) });
  if (without !== undefined) test.clock.advance(round.deadlineMs);
  await startWorker('undisturbed').turn();
  return (await round.version())!.digest;
}

describe('a folder', () => {
  it('looks less often while no update comes, and as often as ever when one has, or a round opens', async () => {
    const { folder } = startWorker();
    const looks = async (times: number) => {
      const pauses: number[] = [];
      for (let look = 0; look < times; look += 1) pauses.push(await folder.step());
      return pauses;
    };
    expect(await looks(2)).toEqual([5000, 5000]);
    const round = await openRound();
    expect(await looks(4)).toEqual([100, 200, 300, 300]);
    await round.send(0);
    expect(await looks(3)).toEqual([100, 200, 300]);
    await openRound({ site: 'b' });
    expect(await looks(2)).toEqual([100, 200]);
  });

  it('looks several times within a lease, which it has to renew', async () => {
    const { config } = test.deps;
    const { folder } = startWorker('test', { ...test.deps, config: { ...config, leaseMs: 150 } });
    await openRound();
    expect([await folder.step(), await folder.step()]).toEqual([50, 50]);
  });
});

describe('a checkpoint', () => {
  it('gives another worker the bytes of an undisturbed fold', async () => {
    const expected = await undisturbedDigest();
    const round = await openRound();
    await sendAll({ send: (i) => (i < 3 ? round.send(i) : Promise.resolve()) });
    const first = startWorker('first', checkpointing(test.deps));
    await first.folder.step();
    const [checkpoint] = await test.deps.db.pool.select().from(checkpoints);
    expect(checkpoint).toMatchObject({ roundId: round.roundId, sequence: 2 });
    await first.close();
    // What is behind the checkpoint is not read again.
    const behind = (await round.updates()).filter(({ sequence }) => sequence <= 2);
    for (const { blobKey } of behind) await damageBlob(test.deps, blobKey);
    await sendAll(round, 3);
    await startWorker('second').turn();
    expect((await round.version())?.digest).toBe(expected);
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it.each([
    ['with a flipped bit', (key: string) => damageBlob(test.deps, key)],
    ['with a flipped bit in its head', (key: string) => damageBlob(test.deps, key, 8 * 8 + 20)],
    ['that is cut short', (key: string) => truncateBlob(test.deps, key, 100)],
    ['that is missing', (key: string) => test.deps.blobs.delete(key)],
  ])('%s starts the fold from the first update', async (_name, damage) => {
    const expected = await undisturbedDigest();
    const round = await openRound();
    await round.send(0);
    await round.send(1);
    const first = startWorker('first', checkpointing(test.deps));
    await first.folder.step();
    await first.close();
    const [checkpoint] = await test.deps.db.pool.select().from(checkpoints);
    await damage(checkpoint!.blobKey);
    await sendAll(round, 2);
    await startWorker('second').turn();
    expect((await round.version())?.digest).toBe(expected);
    // The sweeper gets the damaged one.
    test.clock.advance(7_200_000);
    await sweepBlobs(test.deps);
    expect(await test.deps.blobs.size(checkpoint!.blobKey)).toBeUndefined();
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it('is not made of a whole fold, which is published at once', async () => {
    const round = await openRound();
    await sendAll(round);
    const passed: string[] = [];
    const deps = { ...checkpointing(test.deps), failpoint: async (name: string) => void passed.push(name) };
    await startWorker('first', deps).turn();
    const made = passed.filter((name) => name === 'checkpoint.after_blob');
    expect(made).toHaveLength(count - 1);
    expect((await round.current()).state).toBe('completed');
  });

  it('replaces the one before, which is swept', async () => {
    const round = await openRound();
    const worker = startWorker('first', checkpointing(test.deps));
    const keys: string[] = [];
    await round.send(0);
    await worker.folder.step();
    for (let i = 1; i < 4; i += 1) {
      await round.send(i);
      await worker.folder.step();
      keys.push((await test.deps.db.pool.select().from(checkpoints))[0]!.blobKey);
    }
    await sweepBlobs(test.deps);
    const sizes = await Promise.all(keys.map((key) => test.deps.blobs.size(key)));
    expect(sizes.map((size) => size !== undefined)).toEqual([false, false, true]);
  });
});

describe('a lease', () => {
  it('keeps a second worker from folding', async () => {
    const round = await openRound();
    await round.send(0);
    await startWorker('first').folder.step();
    const second = startWorker('second');
    await second.folder.step();
    await sendAll(round, 1);
    await second.folder.step();
    expect((await round.current()).state).toBe('aggregating');
    const [lease] = await test.deps.db.pool.select().from(leases);
    expect(lease).toMatchObject({ holder: 'first', fence: 1 });
  });

  it('that has run out goes to another worker; the first publishes nothing', async () => {
    const round = await openRound();
    await round.send(0);
    const first = startWorker('first');
    await first.folder.step();
    test.clock.advance(test.deps.config.leaseMs);
    const second = startWorker('second');
    await second.folder.step();
    await sendAll(round, 1);
    await first.folder.step();
    expect((await round.current()).state).toBe('aggregating');
    await second.folder.step();
    expect((await round.current()).state).toBe('completed');
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it('that is lost while the version is written publishes nothing', async () => {
    const round = await openRound();
    await sendAll(round);
    const second = startWorker('second');
    const deps: Deps = {
      ...test.deps,
      failpoint: async (name) => {
        if (name !== 'publish.after_blob') return;
        test.clock.advance(test.deps.config.leaseMs);
        await takeLease(test.deps.db.pool, round.roundId, {
          holder: 'second',
          now: test.clock.now(),
          leaseMs: 60_000,
        });
      },
    };
    await startWorker('first', deps).folder.step();
    expect((await round.current()).state).toBe('aggregating');
    await second.folder.step();
    expect(await view.versions(test.deps, round.modelId)).toHaveLength(2);
    expect((await round.current()).state).toBe('completed');
  });

  it('is kept while long files are folded and written', async () => {
    const round = await openRound();
    await sendAll(round);
    const { blobs, config } = test.deps;
    const passed: string[] = [];
    const second = startWorker('second');
    /** A byte takes a fiftieth of the lease, and the second worker looks for its chance all the time. */
    async function* slowly(chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        for (const [i, byte] of chunk.entries()) {
          test.clock.advance(config.leaseMs / 50);
          if (i % 10 === 0) await second.folder.step();
          yield Uint8Array.of(byte);
        }
      }
    }
    const slow: Deps = {
      ...test.deps,
      failpoint: async (name) => void passed.push(name),
      blobs: {
        ...blobs,
        read: inChunks((key, range) => (range ? blobs.read(key, range) : slowly(blobs.read(key)))),
      },
    };
    await startWorker('first', slow).folder.step();
    expect(passed.filter((name) => name === 'publish.after_commit')).toHaveLength(1);
    expect((await round.current()).state).toBe('completed');
  });

  it('cannot be taken of a round that is over', async () => {
    const round = await openRound();
    await sendAll(round);
    await startWorker('first').turn();
    const lease = { holder: 'second', now: test.clock.now(), leaseMs: 1000 };
    expect(await takeLease(test.deps.db.pool, round.roundId, lease)).toBeUndefined();
    const rows = await test.deps.db.pool.select().from(leases).where(eq(leases.roundId, round.roundId));
    expect(rows).toEqual([]);
  });

  it('is given back by a worker that stops', async () => {
    const round = await openRound();
    await round.send(0);
    const first = startWorker('first');
    await first.folder.step();
    await first.close();
    await sendAll(round, 1);
    await startWorker('second').folder.step();
    expect((await round.current()).state).toBe('completed');
  });
});

type UpdateRow = Awaited<ReturnType<typeof view.updates>>[number];

describe('a damaged update', () => {
  type Damage = (damaged: UpdateRow, other: UpdateRow) => Promise<unknown>;
  const damages: [string, string, Damage][] = [
    ['with a flipped bit', 'blob_corrupt', ({ blobKey }) => damageBlob(test.deps, blobKey)],
    ['with a flipped bit in a name', 'blob_corrupt', ({ blobKey }) => damageBlob(test.deps, blobKey, 60)],
    ['cut in its length field', 'blob_corrupt', ({ blobKey }) => truncateBlob(test.deps, blobKey, 5)],
    [
      'cut in its values',
      'blob_corrupt',
      ({ blobKey, bytes }) => truncateBlob(test.deps, blobKey, bytes - 4),
    ],
    ['with a byte more', 'blob_corrupt', ({ blobKey, bytes }) => truncateBlob(test.deps, blobKey, bytes + 1)],
    [
      "replaced by another update's file",
      'blob_corrupt',
      ({ blobKey }, other) => replaceBlob(test.deps, blobKey, other.blobKey),
    ],
    ['replaced with its SHA-256', 'blob_corrupt', replaceWithDigest],
    ['deleted', 'blob_missing', ({ blobKey }) => test.deps.blobs.delete(blobKey)],
  ];
  it.each(damages.flatMap((damage) => [['a file', ...damage] as const, ['chunks', ...damage] as const]))(
    '(%s) %s is rejected (%s) and the fold goes on as if it never came',
    async (form, _name, reason, damage) => {
      const expected = await undisturbedDigest(2);
      const round = await openRound();
      await sendAll(round);
      const before = await round.updates();
      await damage(before[2]!, before[4]!);
      await startWorker('test', form === 'chunks' ? withoutFiles(test.deps) : test.deps).turn();
      const after = await round.updates();
      expect(after.map(({ state }) => state)).toEqual(
        before.map((_, i) => (i === 2 ? 'rejected' : 'folded')),
      );
      expect(after[2]).toMatchObject({ reason });
      expect((await round.version())?.digest).toBe(expected);
      expect(await findFaults(test.deps)).toEqual([]);
    },
  );

  it('is rejected whose store tells another header than it then has', async () => {
    const expected = await undisturbedDigest(2);
    const round = await openRound();
    await sendAll(round);
    const { blobKey } = (await round.updates())[2]!;
    await startWorker('test', withHeaders(test.deps, blobKey, exchangeTensors)).turn();
    expect((await round.updates())[2]).toMatchObject({ state: 'rejected', reason: 'blob_corrupt' });
    expect((await round.version())?.digest).toBe(expected);
    expect(await findFaults(test.deps)).toEqual([]);
  });

  /** A store that changes the beginning of one blob for those who ask for a range, and for them alone. */
  function withHeaders(deps: Deps, changed: string, change: (header: string) => string): Deps {
    const { blobs } = deps;
    const read: BlobStore['read'] = (key, range) => {
      const bytes = blobs.read(key, range);
      return key === changed && range ? blobBytes(changing(bytes)) : bytes;
    };
    async function* changing(chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks)
        yield Buffer.from(change(Buffer.from(chunk).toString('latin1')), 'latin1');
    }
    return { ...deps, blobs: { ...blobs, read } };
  }

  /** Both headers fit the file. */
  function exchangeTensors(header: string): string {
    const changed = header.replace('[0,24]', '[8,32]').replace('[24,32]', '[0,8]  ');
    expect(changed).not.toBe(header);
    return changed;
  }

  /** The same blobs from a store that has no files. */
  function withoutFiles(deps: Deps): Deps {
    const { blobs } = deps;
    return { ...deps, blobs: { ...blobs, read: inChunks(blobs.read) } };
  }

  /** What a forger does who makes everything fit that the world is told. */
  async function replaceWithDigest({ assignmentId, blobKey }: UpdateRow, other: UpdateRow): Promise<void> {
    await replaceBlob(test.deps, blobKey, other.blobKey);
    const { digest } = other;
    await test.deps.db.pool.update(updates).set({ digest }).where(eq(updates.assignmentId, assignmentId));
  }

  it('is rejected although it was sound when its bytes passed the first time', async () => {
    const round = await openRound();
    await sendAll(round);
    const [first] = await round.updates();
    const folder = startWorker('first').folder;
    await damageBlob(test.deps, (await round.updates())[1]!.blobKey);
    // Folds the first, rejects the second, drops the fold: the first is read again.
    await folder.step();
    await damageBlob(test.deps, first!.blobKey);
    await startWorker('first').turn();
    const states = (await round.updates()).map(({ state }) => state);
    expect(states).toEqual(['rejected', 'rejected', ...Array(count - 2).fill('folded')]);
  });

  it('whose seal is lost counts as damaged', async () => {
    const round = await openRound();
    await sendAll(round);
    const { assignmentId } = (await round.updates())[2]!;
    const { pool } = test.deps.db;
    await pool.update(updates).set({ seal: '' }).where(eq(updates.assignmentId, assignmentId));
    await startWorker().turn();
    expect((await round.updates())[2]).toMatchObject({ state: 'rejected', reason: 'blob_corrupt' });
    expect((await round.current()).state).toBe('completed');
  });

  it('keeps its receipt', async () => {
    const round = await openRound();
    await sendAll(round);
    await damageBlob(test.deps, (await round.updates())[0]!.blobKey);
    await startWorker().turn();
    expect(await round.send(0)).toMatchObject({ status: 'duplicate', sequence: 1 });
  });

  it('fails the round when too few are left', async () => {
    const round = await openRound();
    await sendAll(round);
    for (const { blobKey } of (await round.updates()).slice(1)) await damageBlob(test.deps, blobKey);
    await startWorker().folder.step();
    await startWorker().turn(1);
    expect(await round.current()).toMatchObject({ state: 'failed', reason: 'updates_rejected' });
    const states = (await round.updates()).map(({ state }) => state);
    expect(states).toEqual(['expired', ...Array(count - 1).fill('rejected')]);
    expect(await view.versions(test.deps, round.modelId)).toHaveLength(1);
  });
});

it('a blob store that is out is asked again: no update is rejected, no round fails', async () => {
  const round = await openRound();
  await sendAll(round);
  const { blobs } = test.deps;
  let isOut = true;
  const deps: Deps = {
    ...test.deps,
    blobs: {
      ...blobs,
      read: inChunks(async function* (key, range) {
        if (isOut) throw new BlobUnavailableError('out of order');
        yield* blobs.read(key, range);
      }),
    },
  };
  const worker = startWorker('test', deps);
  await expect(worker.folder.step()).rejects.toThrow(BlobUnavailableError);
  await expect(worker.folder.step()).rejects.toThrow(BlobUnavailableError);
  expect((await round.updates()).map(({ state }) => state)).toEqual(Array(count).fill('accepted'));
  isOut = false;
  await worker.turn();
  expect((await round.current()).state).toBe('completed');
});

it('a folder that is stopped in an outage does not try its other rounds', async () => {
  for (const site of ['a', 'b']) {
    const { send } = await openRound({ site });
    for (const i of [0, 1, 2]) await send(i);
  }
  const first = startWorker('first', checkpointing(test.deps));
  await first.folder.step();
  await first.close();
  expect(await test.deps.db.pool.select().from(checkpoints)).toHaveLength(2);
  // Both have to be restored.
  let reads = 0;
  const deps: Deps = {
    ...test.deps,
    blobs: {
      ...test.deps.blobs,
      // biome-ignore lint/correctness/useYield: it fails before it has anything to give.
      read: inChunks(async function* () {
        reads += 1;
        stopping.abort();
        throw new BlobUnavailableError('out of order');
      }),
    },
  };
  const stopping = new AbortController();
  const folds = createFoldThread();
  const folder = createFolder({ deps, folds, holder: 'test', signal: stopping.signal });
  await folder.step();
  await folder.close();
  await folds.close();
  expect(reads).toBe(1);
});
