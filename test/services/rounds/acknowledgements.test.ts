import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { returnAssignment } from '../../../api/services/rounds/assignments.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { holdWrites } from '../../support/blobs.ts';
import {
  createTestWorker,
  openAssignments,
  seedFederation,
  sendUpdate,
} from '../../support/rounds/rounds.ts';

const ones = Array<number>(8).fill(1);

let test: TestApp;
beforeEach(async () => {
  test = await createTestApp();
});
let release: (() => void) | undefined;
afterEach(() => {
  release?.();
  vi.useRealTimers();
  return test.close();
});

/** Devices with an assignment each, and how many statements have acknowledged what they sent. */
async function openRound(count: number) {
  let commits = 0;
  const db: Deps['db'] = {
    ...test.deps.db,
    run: (statement) => {
      if (statement.text.includes('accept_updates')) commits += 1;
      return test.deps.db.run(statement);
    },
  };
  const deps = { ...test.deps, db };
  const { devices } = await seedFederation(deps, {
    devices: count,
    settings: { quorum: count, capacity: count },
  });
  const worker = createTestWorker(deps);
  await worker.turn();
  await worker.close();
  // The driver opens connections by a timer: all that it may open are there before timers stand still.
  await Promise.all(Array.from({ length: 8 }, () => test.deps.db.client`select pg_sleep(0.1)`));
  return { deps, assignments: await openAssignments(deps, devices), commits: () => commits };
}

/** One update is stored for as long as the test likes; another is stored, and waits for it. */
async function waitForCompany() {
  const { deps, assignments, commits } = await openRound(2);
  const { blobs, gate, reached } = holdWrites(deps.blobs);
  release = gate.resolve;
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  const late = sendUpdate({ ...deps, blobs }, assignments[0]!, ones);
  late.catch(() => undefined);
  await reached;
  const stored = Promise.withResolvers<void>();
  const failpoint = async (name: string) => {
    if (name === 'update.before_commit') stored.resolve();
  };
  const early = sendUpdate({ ...deps, failpoint }, assignments[1]!, ones);
  await stored.promise;
  await setImmediate();
  return { late, early, gate, commits };
}

describe('updates of a round', () => {
  it('that come at the same time are acknowledged by one transaction, in the order in which they were stored', async () => {
    const { late, early, gate, commits } = await waitForCompany();
    expect(commits()).toBe(0);
    gate.resolve();
    expect(await early).toMatchObject({ status: 'accepted', sequence: 1 });
    expect(await late).toMatchObject({ status: 'accepted', sequence: 2 });
    expect(commits()).toBe(1);
  });

  it('wait for nobody who has failed', async () => {
    const { late, early, gate, commits } = await waitForCompany();
    gate.reject(new Error('the disk is gone'));
    expect(await early).toMatchObject({ status: 'accepted', sequence: 1 });
    await expect(late).rejects.toThrow('the disk is gone');
    expect(commits()).toBe(1);
  });

  it('are committed without a wait when there are four; the next ones gather meanwhile', async () => {
    const { deps, assignments, commits } = await openRound(5);
    const { blobs, gate, reached } = holdWrites(deps.blobs);
    release = gate.resolve;
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    const late = sendUpdate({ ...deps, blobs }, assignments[0]!, ones);
    await reached;
    const early = assignments.slice(1).map((assignment) => sendUpdate(deps, assignment, ones));
    expect((await Promise.all(early)).map(({ status }) => status)).toEqual(Array(4).fill('accepted'));
    expect(commits()).toBe(1);
    gate.resolve();
    expect(await late).toMatchObject({ status: 'accepted', sequence: 5 });
  });

  it('wait for a moment only', async () => {
    const { late, early, gate, commits } = await waitForCompany();
    vi.advanceTimersByTime(10);
    expect(await early).toMatchObject({ status: 'accepted', sequence: 1 });
    gate.resolve();
    expect(await late).toMatchObject({ status: 'accepted', sequence: 2 });
    expect(commits()).toBe(2);
  });

  it.each([
    ['the first', 0],
    ['one in the middle', 2],
    ['the last', 4],
  ])('do not depend on another: %s is refused', async (_, index) => {
    const { deps, assignments } = await openRound(5);
    // It has a turn of its own, between the check of its assignment and its acknowledgement.
    const { blobs, gate, reached } = holdWrites(deps.blobs);
    const refused = assignments[index]!;
    const sent = assignments.map((assignment) => sendUpdate({ ...deps, blobs }, assignment, ones));
    const outcomes = Promise.allSettled(sent);
    await reached;
    await returnAssignment(deps, refused.device, refused.id, 'battery');
    gate.resolve();
    const states = (await outcomes).map(({ status }) => status);
    expect(states).toEqual(assignments.map((one) => (one === refused ? 'rejected' : 'fulfilled')));
  });

  it('that come alone wait for no timer', async () => {
    const { deps, assignments, commits } = await openRound(1);
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    expect(await sendUpdate(deps, assignments[0]!, ones)).toMatchObject({ status: 'accepted' });
    expect(commits()).toBe(1);
  });
});
