import { mkdtemp, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { bodyOf } from '../../../api/domain/body.ts';
import { createFoldThread, type FoldThread } from '../../../api/kernels/folds/folds.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { submitUpdate } from '../../../api/services/rounds/updates.ts';
import {
  type Append,
  appendToUpload,
  beginUpload,
  completeUpload,
  requireUpload,
} from '../../../api/services/rounds/uploads.ts';
import { createWaitingRoom, type WaitingRoom } from '../../../api/services/rounds/waiting-room.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { createCredentialCache } from '../../../api/store/identity/credential-cache.ts';
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
let waitingRoom: WaitingRoom;
let folds: FoldThread;
let expected: string;
beforeAll(async () => {
  dir = await mkdtemp(memoryFolder('fededge-faults-'));
  test = await createTestApp({ blobs: createFileBlobs({ dir }) });
  // Nobody tells it that anything has changed: what it remembers is as stale as can be.
  const credentials = createCredentialCache({ subscribe: () => () => undefined });
  waitingRoom = createWaitingRoom({ ...test.deps, credentials });
  // Every update is followed by a checkpoint, whose calls fail in turn like all others.
  const config = { ...test.deps.config, checkpointUpdates: 1 };
  faulty = createFaultyDeps({ ...test.deps, credentials, config });
  folds = createFoldThread();
  expected = await playRound('none', (work) => work());
});
afterAll(async () => {
  await folds?.close();
  await test?.close();
  await rm(dir, { recursive: true, force: true });
});

const intakes = ['intake', 'intake after a poll', 'intake by and by', 'resumable intake'] as const;
const parts = [...intakes, 'fold', 'publish'] as const;
type Part = (typeof parts)[number];
const isIntake = (part: Part) => intakes.some((intake) => intake === part);
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
  if (part === 'intake after a poll') await pollAll(open);
  const worker = createTestWorker(deps, { folds });
  const send = (i: number) => sendUpdate(deps, open[i]!, valuesOf(i), examplesOf(i));
  const sendSecond = () => {
    if (part === 'resumable intake') return sendInParts(deps, open[1]!, 1);
    if (part === 'intake by and by') return sendByAndBy(deps, open[1]!, 1);
    return send(1);
  };
  const play = (names: readonly Part[], work: () => Promise<unknown>) =>
    names.some((name) => name === part) ? disturbed(work) : work();
  await send(0);
  await play(intakes, sendSecond);
  await play(['fold'], () => worker.folder.step());
  await send(2);
  await play(['publish'], () => worker.folder.step());
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

/**
 * The service keeps for each database how many updates come in a second: under load it announces their blobs ahead, and
 * an update then makes a call less. A database object of its own is what no other round has counted for.
 */
const withoutLoad = (deps: Deps): Deps => ({ ...deps, db: { ...deps.db } });

/** Each device is told what it has to do: its update is let in from memory. */
async function pollAll(open: Awaited<ReturnType<typeof openAssignments>>): Promise<void> {
  for (const { id, device } of open) {
    const told = await waitingRoom.wait(device, 0, new AbortController().signal);
    expect(told).toMatchObject({ status: 'assigned', assignment: { id } });
  }
}

interface Open {
  id: string;
  device: DevicePrincipal;
}

/** An update whose body does not come in one go. */
function sendByAndBy(deps: Deps, { id, device }: Open, i: number) {
  const file = encodeUpdate(valuesOf(i), examplesOf(i));
  const body = bodyOf(async function* () {
    yield file.subarray(0, 100);
    yield file.subarray(100);
  });
  return submitUpdate(deps, device, id, { ...declare(file), body });
}

/** An upload in two parts that goes on where it stands. */
async function sendInParts(deps: Deps, { id, device }: Open, i: number) {
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

/** The assignment, as the tables have it. */
const lookUp = expect.stringContaining('select "rounds"."kind"');
/** The whole transaction of an update. */
const accept = expect.stringContaining('select accept_updates(');
/** What each part asks for besides what all of them write. */
const also: Record<Part, unknown> = {
  intake: expect.arrayContaining([lookUp]),
  'intake after a poll': expect.not.arrayContaining([lookUp]),
  'intake by and by': expect.arrayContaining([lookUp, 'write']),
  'resumable intake': expect.arrayContaining([lookUp, 'begin', 'commit', 'read', 'write']),
  fold: expect.arrayContaining(['begin', 'commit', 'read', 'read of a file']),
  publish: expect.arrayContaining(['begin', 'commit', 'read', 'read of a file']),
};

describe.each(parts)('each call of the database and the blob store in %s', { timeout: 180_000 }, (part) => {
  it.each(faultModes)('may fail %s: the same again leads to the same bytes', async (mode) => {
    const failed = await failEach(faulty, mode, async (disturbed, what) => {
      expect(await playRound(part, disturbed), what).toBe(expected);
    });
    // The story is not empty: all kinds of calls are among those that failed.
    expect(failed.length).toBeGreaterThan(part === 'intake after a poll' ? 3 : 4);
    expect(failed).toEqual(expect.arrayContaining(['create', 'commit of a blob']));
    if (isIntake(part)) expect(failed).toEqual(expect.arrayContaining([accept]));
    expect(failed).toEqual(also[part]);
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
