import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import type { Manifest } from '../../../api/domain/manifest.ts';
import { STRIDE_BYTES } from '../../../api/kernels/folds/fold-files.ts';
import { createFoldThread, type FoldThread } from '../../../api/kernels/folds/folds.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { submitUpdate } from '../../../api/services/rounds/updates.ts';
import { type BlobStore, BlobUnavailableError } from '../../../api/store/blobs/blob-store.ts';
import { createS3Blobs } from '../../../api/store/blobs/s3/s3-blobs.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { get } from '../../support/blobs.ts';
import { type FakeS3, type Fault, startFakeS3 } from '../../support/fake-s3.ts';
import { findFaults } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  declare,
  encodeUpdate,
  openAssignments,
  seedFederation,
  view,
} from '../../support/rounds/rounds.ts';

/** Its updates have three strides. */
const parameters = 2_200_000;
const manifest: Manifest = {
  tensors: [{ name: 'w', shape: [parameters], dtype: 'F32', role: 'trainable' }],
};
const valuesOf = (i: number) => Float32Array.from({ length: parameters }, (_, j) => Math.sin(i + j));
const base = Array<number>(parameters).fill(0);
const files = [0, 1].map((i) => encodeUpdate(valuesOf(i), 3 * i + 1, manifest));

let test: TestApp;
let folds: FoldThread;
afterEach(async () => {
  await folds.close();
  await test.close();
});

/** A round that has all of its updates and of which nothing is folded. */
async function collect(site: string) {
  const { deps } = test;
  const settings = { quorum: 2, capacity: 2 };
  const seeded = await seedFederation(deps, { devices: 2, settings, manifest, base, labels: { site } });
  await advanceRounds(deps);
  const open = await openAssignments(deps, seeded.devices);
  for (const [i, { id, device }] of open.entries()) await submitUpdate(deps, device, id, declare(files[i]!));
  const [round] = await view.rounds(deps, seeded.runId);
  const updates = () => view.updates(deps, round!.id);
  const digest = async () => (await view.versions(deps, seeded.modelId))[1]?.digest;
  return { updates, digest };
}

/** Folds a round that is left alone: what any other has to come to. */
async function foldUndisturbed(worker: ReturnType<typeof createTestWorker>) {
  const round = await collect('undisturbed');
  await worker.turn();
  const digest = await round.digest();
  expect(digest).toBeDefined();
  return digest;
}

async function expectAllFolded(round: Awaited<ReturnType<typeof collect>>, digest: string | undefined) {
  expect((await round.updates()).map(({ state }) => state)).toEqual(['folded', 'folded']);
  expect(await round.digest()).toBe(digest);
  expect(await findFaults(test.deps)).toEqual([]);
}

describe('a file that the fold thread reads', () => {
  const failsFrom = new Int32Array(new SharedArrayBuffer(4));
  beforeEach(async () => {
    test = await createTestApp();
    failsFrom[0] = -1;
    const entry = new URL('../../support/rounds/failing-fold-thread.ts', import.meta.url);
    folds = createFoldThread(() => new Worker(entry, { workerData: failsFrom.buffer }));
  });

  it.each([0, 1, 2])('cannot be read from stride %i on for a while', async (stride) => {
    const worker = createTestWorker(test.deps, { folds });
    const expected = await foldUndisturbed(worker);
    const round = await collect('disturbed');
    failsFrom[0] = stride * STRIDE_BYTES;
    const outage = { name: 'BlobUnavailableError', message: expect.stringMatching(/EIO/) };
    for (let tries = 0; tries < 2; tries += 1) {
      await expect(worker.folder.step()).rejects.toMatchObject(outage);
      expect((await round.updates()).map(({ state }) => state)).toEqual(['accepted', 'accepted']);
    }
    failsFrom[0] = -1;
    await worker.turn();
    await expectAllFolded(round, expected);
    await worker.folder.close();
  });

  it('becomes shorter while it is read, and is whole again later', async () => {
    const undisturbed = createTestWorker(test.deps, { folds });
    const expected = await foldUndisturbed(undisturbed);
    const round = await collect('disturbed');
    const { blobKey } = (await round.updates())[1]!;
    const path = join(test.deps.config.dataDir, 'blobs', blobKey);
    let isCut = false;
    const cutting: FoldThread = {
      ...folds,
      add(fold, update) {
        if (update.source.path !== path || isCut) return folds.add(fold, update);
        const keep = async () => {
          if (!isCut) await truncate(path, 1000);
          isCut = true;
        };
        return folds.add(fold, { ...update, keep });
      },
    };
    const worker = createTestWorker(test.deps, { folds: cutting });
    await expect(worker.folder.step()).rejects.toThrow(BlobUnavailableError);
    expect(isCut).toBe(true);
    await writeFile(path, files[1]!);
    await worker.turn();
    await expectAllFolded(round, expected);
    await worker.folder.close();
  });
});

describe('an object of S3', () => {
  let s3: FakeS3;
  let blobs: BlobStore;
  beforeEach(async () => {
    s3 = await startFakeS3({ bucket: 'blobs' });
    const access = { region: 'eu-central-1', accessKeyId: 'test-key', secretAccessKey: 'test-secret' };
    const { endpoint, bucket } = s3;
    blobs = createS3Blobs({ ...access, endpoint, bucket, pathStyle: true, retryBaseMs: 1 });
    test = await createTestApp({ blobs });
    folds = createFoldThread();
  });
  afterEach(() => s3.close());

  const half: Fault = { kind: 'cut', bytes: 5_000_000 };
  const nothing: Fault = { kind: 'cut', bytes: 0 };

  it.each<[string, Fault[], number]>([
    ['is cut in the middle, and goes on from there', [half], 0],
    ['is cut in the middle, and no byte comes after that', [half, ...Array<Fault>(6).fill(nothing)], 1],
  ])('%s', async (_name, faults, failures) => {
    const armed: Deps = { ...test.deps };
    let isArmed = false;
    armed.blobs = {
      ...blobs,
      read(key, range) {
        // Not the header: that is read by a range.
        if (isArmed && key.startsWith('update/') && !range) {
          isArmed = false;
          s3.faults.push(...faults.map((fault) => ({ match: /^GET update/, fault })));
        }
        return blobs.read(key, range);
      },
    };
    const worker = createTestWorker(armed, { folds });
    const expected = await foldUndisturbed(worker);
    const round = await collect('disturbed');
    isArmed = true;
    for (let failed = 0; failed < failures; failed += 1) {
      await expect(worker.folder.step()).rejects.toThrow(BlobUnavailableError);
      expect((await round.updates()).map(({ state }) => state)).toEqual(['accepted', 'accepted']);
    }
    await worker.turn();
    expect(s3.faults).toEqual([]);
    expect(isArmed).toBe(false);
    await expectAllFolded(round, expected);
    await worker.folder.close();
    expect((await get(blobs, (await round.updates())[0]!.blobKey)).equals(files[0]!)).toBe(true);
  });
});
