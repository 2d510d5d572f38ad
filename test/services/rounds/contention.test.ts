import { setTimeout } from 'node:timers/promises';
import { eq, sql } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Deps } from '../../../api/deps.ts';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { revokeDevice } from '../../../api/services/identity/devices.ts';
import { returnAssignment } from '../../../api/services/rounds/assignments.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { pauseRun, resumeRun, stopRun } from '../../../api/services/rounds/runs.ts';
import { newId } from '../../../api/store/ids.ts';
import { takeLease } from '../../../api/store/rounds/leases.ts';
import { insertAssignments } from '../../../api/store/rounds/rounds.ts';
import { runs } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { findFaults } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  type DevicePrincipal,
  openAssignments,
  seedDevices,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
let other: Deps;
beforeEach(async () => {
  test = await createTestApp();
  other = (await test.replica()).deps;
});
afterEach(() => test.close());

const values = [1, 2, 3, 4, 5, 6, 7, 8];
const expected = ['late', 'full', 'not_in_cohort', 'assignment_settled', 'conflict', 'unavailable'];

/** Refusals are part of the game; a deadlock or a violated constraint is not. */
async function tolerate(work: Promise<unknown>): Promise<void> {
  await work.catch((error: { code?: string }) => {
    if (!expected.includes(error.code ?? '')) throw error;
  });
}

/** Turns a worker until the signal, with hardly a pause: whatever it throws ends the test. */
async function turnUntil(signal: AbortSignal, deps: Deps, holder: string): Promise<void> {
  const worker = createTestWorker(deps, { holder });
  try {
    while (!signal.aborted) {
      await worker.turn(1);
      await setTimeout(1);
    }
  } finally {
    await worker.close();
  }
}

/** Every device does what it is asked for, mostly: each third assignment is given back. */
async function playUntil(
  signal: AbortSignal,
  deps: Deps,
  devices: readonly DevicePrincipal[],
): Promise<void> {
  let turn = 0;
  while (!signal.aborted) {
    const open = await openAssignments(deps, devices);
    if (open.length === 0) await setTimeout(2);
    await Promise.all(
      open.map((assignment) => {
        turn += 1;
        return turn % 3 === 0
          ? tolerate(returnAssignment(deps, assignment.device, assignment.id, 'busy'))
          : tolerate(sendUpdate(deps, assignment, values));
      }),
    );
  }
}

async function countDeadlocks({ db }: Deps): Promise<number> {
  const rows = await db.pool.execute<{ deadlocks: string }>(
    sql`select deadlocks from pg_stat_database where datname = current_database()`,
  );
  return Number(rows[0]!.deadlocks);
}

describe('two workers and two replicas', () => {
  it('publish, give back and revoke at once: nothing waits in a circle, every count holds', async () => {
    const settings = { rounds: 15, quorum: 2, capacity: 4, maxFailedRounds: 1000 };
    const { devices, runId, modelId } = await seedFederation(test.deps, { devices: 12, settings });
    const over = new AbortController();
    const checkpointing: Deps = { ...other, config: { ...other.config, checkpointUpdates: 1 } };
    const playing = [
      turnUntil(over.signal, test.deps, 'first'),
      turnUntil(over.signal, checkpointing, 'second'),
      playUntil(over.signal, test.deps, devices),
      playUntil(over.signal, other, devices),
    ];
    let revoked = 0;
    const watching = (async () => {
      for (;;) {
        expect(await findFaults(test.deps)).toEqual([]);
        await setTimeout(30);
        const { state, completedRounds } = await view.run(test.deps, runId);
        if (state !== 'active') break;
        if (completedRounds > 2 * (revoked + 1) && revoked < 6) {
          await revokeDevice(other, systemPrincipal, devices[revoked]!.id);
          revoked += 1;
        }
      }
      over.abort();
    })();
    await Promise.all([watching, ...playing]);
    expect(await view.run(test.deps, runId)).toMatchObject({ state: 'completed', completedRounds: 15 });
    expect(await view.versions(test.deps, modelId)).toHaveLength(16);
    expect(revoked).toBe(6);
    expect(await countDeadlocks(test.deps)).toBe(0);
  });

  it('stop runs while they publish: each round ends, once', async () => {
    const settings = { rounds: 1000, quorum: 1, capacity: 2, maxFailedRounds: 1000 };
    const over = new AbortController();
    const workers = [
      turnUntil(over.signal, test.deps, 'first'),
      turnUntil(over.signal, { ...other, config: { ...other.config, checkpointUpdates: 1 } }, 'second'),
    ];
    const story = (async () => {
      for (let i = 0; i < 5; i += 1) {
        const labels = { site: `site ${i}` };
        const seeded = await seedFederation(test.deps, { devices: 3, settings, labels });
        const stopped = new AbortController();
        const playing = playUntil(stopped.signal, i % 2 ? test.deps : other, seeded.devices);
        while ((await view.run(test.deps, seeded.runId)).completedRounds < 2) await setTimeout(5);
        for (let j = 0; j < 3; j += 1) {
          await pauseRun(other, systemPrincipal, seeded.runId);
          await resumeRun(test.deps, systemPrincipal, seeded.runId);
        }
        await stopRun(other, systemPrincipal, seeded.runId);
        const isOpen = ({ state }: { state: string }) => !['completed', 'failed'].includes(state);
        while ((await view.rounds(test.deps, seeded.runId)).some(isOpen)) await setTimeout(5);
        stopped.abort();
        await playing;
        const rounds = await view.rounds(test.deps, seeded.runId);
        const published = rounds.filter(({ state }) => state === 'completed');
        const run = await view.run(test.deps, seeded.runId);
        expect(run).toMatchObject({ state: 'stopped', completedRounds: published.length });
        expect(await view.versions(test.deps, seeded.modelId)).toHaveLength(published.length + 1);
        expect((await view.model(test.deps, seeded.modelId)).head).toBe(published.length + 1);
      }
    })().finally(() => over.abort());
    await Promise.all([story, ...workers]);
    expect(await findFaults(test.deps)).toEqual([]);
    expect(await countDeadlocks(test.deps)).toBe(0);
  });
});

it('a lease that is taken while its round ends is not left behind', async () => {
  const settings = { rounds: 20, quorum: 1, capacity: 1 };
  const { devices, runId } = await seedFederation(test.deps, { devices: 1, settings });
  const worker = createTestWorker(test.deps);
  const over = new AbortController();
  // Of a holder whose name the worker has, so that nothing but the round's end keeps it from the lease.
  const snatching = (async () => {
    while (!over.signal.aborted) {
      const [round] = (await view.rounds(other, runId)).slice(-1);
      const lease = { holder: 'thief', now: new Date(0), leaseMs: 1 };
      if (round) await takeLease(other.db.pool, round.id, lease);
    }
  })();
  while ((await view.run(test.deps, runId)).state === 'active') {
    await worker.turn(1);
    for (const assignment of await openAssignments(test.deps, devices)) {
      await sendUpdate(test.deps, assignment, values);
    }
  }
  over.abort();
  await snatching;
  await worker.close();
  expect((await view.run(test.deps, runId)).completedRounds).toBe(20);
  expect(await findFaults(test.deps)).toEqual([]);
});

it('two runs that draw the same devices at once share them out', async () => {
  const settings = { quorum: 3, capacity: 6, rounds: 1 };
  for (let attempt = 0; attempt < 5; attempt += 1) {
    const labels = { draw: String(attempt) };
    const one = await seedFederation(test.deps, { devices: 4, settings, labels });
    const two = await seedFederation(test.deps, { devices: 0, settings, labels });
    await Promise.all([advanceRounds(test.deps), advanceRounds(other)]);
    const rounds = [
      ...(await view.rounds(test.deps, one.runId)),
      ...(await view.rounds(test.deps, two.runId)),
    ];
    expect(rounds).toHaveLength(2);
    // Four devices have three for one of them: the other waits with none, not with one.
    expect(rounds.map(({ state }) => state).toSorted()).toEqual(['collecting', 'pending']);
    const invited = await Promise.all(rounds.map(({ id }) => view.assignments(test.deps, id)));
    expect(invited.map((list) => list.length).toSorted()).toEqual([0, 4]);
    await seedDevices(test.deps, 4, { labels });
    await advanceRounds(test.deps);
    const drawn = [
      ...(await view.rounds(test.deps, one.runId)),
      ...(await view.rounds(test.deps, two.runId)),
    ];
    expect(drawn.map(({ state }) => state)).toEqual(['collecting', 'collecting']);
    await test.deps.db.pool.update(runs).set({ state: 'stopped' }).where(eq(runs.id, one.runId));
  }
  expect(await findFaults(test.deps)).toEqual([]);
});

it('a cohort whose devices another round takes at that moment is drawn later, not in part', async () => {
  const labels = { site: 'shared' };
  const settings = { quorum: 5, capacity: 6 };
  const rival = await seedFederation(test.deps, { devices: 4, settings, labels });
  await advanceRounds(test.deps);
  const [pending] = await view.rounds(test.deps, rival.runId);
  // The clock has nothing to do with the rival itself, so that it comes to the second round at once.
  await stopRun(test.deps, systemPrincipal, rival.runId);
  const { runId } = await seedFederation(test.deps, { devices: 0, settings: { quorum: 3 }, labels });
  const taken = Promise.withResolvers<void>();
  const commit = Promise.withResolvers<void>();
  const taking = other.db.transaction(async (tx) => {
    const invited = rival.devices.slice(0, 2).map(({ id }) => ({ id: newId(new Date()), deviceId: id }));
    await insertAssignments(tx, pending!, invited, test.clock.now());
    taken.resolve();
    await commit.promise;
  });
  await taken.promise;
  const drawing = advanceRounds(test.deps);
  // It has found four devices and waits to learn what becomes of two of them.
  await vi.waitFor(async () => expect(await countWaiting(other)).toBe(1));
  commit.resolve();
  await Promise.all([taking, drawing]);
  const [round] = await view.rounds(test.deps, runId);
  expect(round).toMatchObject({ state: 'pending', invited: 0, openAssignments: 0 });
  expect(await view.assignments(test.deps, round!.id)).toEqual([]);
});

async function countWaiting({ db }: Deps): Promise<number> {
  const rows = await db.pool.execute<{ waiting: string }>(sql`
    select count(*) as waiting from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`);
  return Number(rows[0]!.waiting);
}
