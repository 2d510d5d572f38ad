import { mkdtemp, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { createFoldThread, type FoldThread } from '../../../api/kernels/folds/folds.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import {
  type Append,
  appendToUpload,
  beginUpload,
  completeUpload,
  requireUpload,
} from '../../../api/services/rounds/uploads.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { blobs } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { keysOf } from '../../support/blobs.ts';
import { memoryFolder } from '../../support/folders.ts';
import {
  createFaultyDeps,
  type FaultyDeps,
  failEach,
  faultModes,
} from '../../support/rounds/injected-faults.ts';
import { findFaults } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  type DevicePrincipal,
  declare,
  encodeUpdate,
  openAssignments,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
let dir: string;
let faulty: FaultyDeps;
let folds: FoldThread;
let expected: string;
beforeAll(async () => {
  dir = await mkdtemp(memoryFolder('fededge-faults-'));
  test = await createTestApp({ blobs: createFileBlobs({ dir }) });
  // Every update is followed by a checkpoint, whose calls fail in turn like all others.
  faulty = createFaultyDeps({ ...test.deps, config: { ...test.deps.config, checkpointUpdates: 1 } });
  folds = createFoldThread();
  expected = await playRound('none', (work) => work());
});
afterAll(async () => {
  await folds?.close();
  await test?.close();
  await rm(dir, { recursive: true, force: true });
});

const parts = ['intake', 'resumable intake', 'fold', 'publish'] as const;
type Part = (typeof parts)[number];
type Play = <T>(work: () => Promise<T>) => Promise<T>;

const count = 3;
const valuesOf = (i: number) => Array.from({ length: 8 }, (_, j) => Math.fround(Math.sin(i * 8 + j) / 3));
const examplesOf = (i: number) => 3 * i + 1;
let rounds = 0;

/**
 * A round of three devices, of which the last update fills it: the digest of its version. `disturbed` plays one part,
 * everything else happens by itself.
 */
async function playRound(part: Part | 'none', disturbed: Play): Promise<string> {
  const deps = withoutLoad(faulty.deps);
  rounds += 1;
  const seeded = await seedFederation(test.deps, {
    devices: count,
    settings: { quorum: count, capacity: count },
    labels: { round: `${rounds}` },
  });
  await advanceRounds(test.deps);
  const open = await openAssignments(test.deps, seeded.devices);
  const worker = createTestWorker(deps, { folds });
  const send = (i: number) => sendUpdate(deps, open[i]!, valuesOf(i), examplesOf(i));
  const play = (name: Part, work: () => Promise<unknown>) => (name === part ? disturbed(work) : work());
  await send(0);
  if (part === 'resumable intake') await disturbed(() => sendInParts(deps, open[1]!, 1));
  else await play('intake', () => send(1));
  await play('fold', () => worker.folder.step());
  await send(2);
  await play('publish', () => worker.folder.step());
  await worker.folder.close();
  const [round] = await view.rounds(test.deps, seeded.runId);
  const [, version] = await view.versions(test.deps, seeded.modelId);
  const updates = await view.updates(test.deps, round!.id);
  const receipts = await Promise.all(open.map((_, i) => send(i)));
  expect(round).toMatchObject({ state: 'completed', accepted: count });
  expect(updates.map(({ sequence, state }) => ({ sequence, state }))).toEqual(
    [1, 2, 3].map((sequence) => ({ sequence, state: 'folded' })),
  );
  expect(receipts).toEqual(
    [1, 2, 3].map((sequence) => expect.objectContaining({ status: 'duplicate', sequence })),
  );
  return version!.digest;
}

/** Of its own: what went before would count as load, under which blobs are announced ahead and a call is missing. */
const withoutLoad = (deps: Deps): Deps => ({ ...deps, db: { ...deps.db } });

/** An upload in two parts that goes on where it stands. */
async function sendInParts(deps: Deps, { id, device }: { id: string; device: DevicePrincipal }, i: number) {
  const file = encodeUpdate(valuesOf(i), examplesOf(i));
  const begun = await beginUpload(deps, device, id, declare(file));
  if ('receipt' in begun) return begun.receipt;
  for (;;) {
    const upload = await requireUpload(deps, device, begun.upload.id);
    if (upload.complete) return completeUpload(deps, device, upload);
    await appendToUpload(deps, device, upload.id, appendOf(file, upload.offset));
  }
}

function appendOf(file: Buffer, start: number): Append {
  const body = start === 0 ? file.subarray(0, 100) : file.subarray(start);
  const completes = start + body.length === file.length;
  return { ...declare(body), start, completes, totalBytes: undefined };
}

describe.each(parts)('each call of the database and the blob store in %s', { timeout: 180_000 }, (part) => {
  it.each(faultModes)('may fail %s: the same again leads to the same bytes', async (mode) => {
    const failed = await failEach(faulty, mode, async (disturbed, what) => {
      expect(await playRound(part, disturbed), what).toBe(expected);
    });
    // The story is not empty: both kinds of calls are among those that failed.
    expect(failed.length).toBeGreaterThan(6);
    expect(failed).toEqual(expect.arrayContaining(['create', 'commit of a blob', 'begin', 'commit']));
    expect(await findFaults(test.deps)).toEqual([]);
  });
});

it('what the failed calls left behind is swept, and nothing else', async () => {
  test.clock.advance(7_200_000);
  await sweepBlobs(test.deps);
  const rows = await test.deps.db.pool.select().from(blobs);
  const live = rows.map(({ key, state }) => `${key} ${state}`).sort();
  const stored = await Promise.all(
    ['update/', 'checkpoint/', 'upload/'].map((prefix) => keysOf(test.deps.blobs, prefix)),
  );
  expect(stored.flat().length).toBeGreaterThan(rounds);
  const versions = live.filter((line) => line.startsWith('version/'));
  expect(live).toEqual([...versions, ...stored.flat().map((key) => `${key} live`)].sort());
});
