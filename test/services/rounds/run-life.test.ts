import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { pauseRun, resumeRun, stopRun } from '../../../api/services/rounds/runs.ts';
import { findNextDue } from '../../../api/store/rounds/agenda.ts';
import { runs } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { findFaults } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  openAssignments,
  seedFederation,
  sendUpdate,
  view,
} from '../../support/rounds/rounds.ts';

let test: TestApp;
let worker: ReturnType<typeof createTestWorker>;
beforeEach(async () => {
  test = await createTestApp();
  worker = createTestWorker(test.deps);
});
afterEach(async () => {
  await worker.close();
  await test.close();
});

const ones = Array<number>(8).fill(1);

async function openRun(settings = {}, devices = 2) {
  const seeded = await seedFederation(test.deps, {
    devices,
    settings: { rounds: 10, quorum: 2, capacity: 2, ...settings },
  });
  await worker.turn(1);
  const rounds = () => view.rounds(test.deps, seeded.runId);
  return {
    ...seeded,
    rounds,
    run: () => view.run(test.deps, seeded.runId),
    states: async () => (await rounds()).map(({ state }) => state),
    sendAll: async () => {
      for (const one of await openAssignments(test.deps, seeded.devices))
        await sendUpdate(test.deps, one, ones);
    },
  };
}

describe('a paused run', () => {
  it('lets the open round finish and opens no other until it is resumed', async () => {
    const run = await openRun();
    await pauseRun(test.deps, systemPrincipal, run.runId);
    await run.sendAll();
    await worker.turn();
    expect(await run.states()).toEqual(['completed']);
    expect(await run.run()).toMatchObject({ state: 'paused', completedRounds: 1 });
    await resumeRun(test.deps, systemPrincipal, run.runId);
    await worker.turn(1);
    expect(await run.states()).toEqual(['completed', 'collecting']);
  });

  it('closes its round at the deadline, and replaces who gave up', async () => {
    const run = await openRun({ quorum: 1, capacity: 2 }, 3);
    await pauseRun(test.deps, systemPrincipal, run.runId);
    const [first] = await openAssignments(test.deps, run.devices);
    await sendUpdate(test.deps, first!, ones);
    test.clock.advance(60_000);
    await worker.turn();
    expect(await run.states()).toEqual(['completed']);
  });

  it('is over only when it is resumed, even after its last round', async () => {
    const run = await openRun({ rounds: 1 });
    await pauseRun(test.deps, systemPrincipal, run.runId);
    await run.sendAll();
    await worker.turn();
    expect(await run.run()).toMatchObject({ state: 'paused' });
    await resumeRun(test.deps, systemPrincipal, run.runId);
    await worker.turn(1);
    expect(await run.run()).toMatchObject({ state: 'completed', reason: 'rounds_done' });
  });
});

describe('endAt', () => {
  const setEnd = (runId: string, ms: number) =>
    test.deps.db.pool
      .update(runs)
      .set({ endAt: new Date(test.clock.now().getTime() + ms) })
      .where(eq(runs.id, runId));

  it('lets the open round finish, then ends the run', async () => {
    const run = await openRun();
    await setEnd(run.runId, 1000);
    test.clock.advance(2000);
    await worker.turn(1);
    expect(await run.run()).toMatchObject({ state: 'active' });
    await run.sendAll();
    await worker.turn();
    expect(await run.states()).toEqual(['completed']);
    expect(await run.run()).toMatchObject({ state: 'completed', reason: 'end_at', completedRounds: 1 });
  });

  it('is nothing to wake up for while a round is open', async () => {
    const run = await openRun();
    await setEnd(run.runId, -1000);
    const [round] = await run.rounds();
    expect(await findNextDue(test.deps.db.pool)).toEqual(round!.deadlineAt);
  });
});

describe('maxFailedRounds', () => {
  it('counts failures in a row: a published round starts again from nothing', async () => {
    const run = await openRun({ maxFailedRounds: 2 });
    test.clock.advance(60_000);
    await worker.turn();
    expect(await run.run()).toMatchObject({ state: 'active', failedInARow: 1 });
    await run.sendAll();
    await worker.turn();
    expect(await run.run()).toMatchObject({ state: 'active', failedInARow: 0, completedRounds: 1 });
    for (let i = 0; i < 2; i += 1) {
      test.clock.advance(60_000);
      await worker.turn();
    }
    expect(await run.run()).toMatchObject({ state: 'failed', reason: 'max_failed_rounds' });
    expect(await run.states()).toEqual(['failed', 'completed', 'failed', 'failed']);
  });
});

describe('a stopped run', () => {
  it('fails what collects: assignments and updates expire, late ones are refused', async () => {
    const run = await openRun();
    const [first, second] = await openAssignments(test.deps, run.devices);
    const receipt = await sendUpdate(test.deps, first!, ones);
    await stopRun(test.deps, systemPrincipal, run.runId);
    const [round] = await run.rounds();
    expect(round).toMatchObject({ state: 'failed', reason: 'run_stopped', openAssignments: 0, dropped: 0 });
    expect(await view.updates(test.deps, round!.id)).toMatchObject([
      { state: 'expired', reason: 'run_stopped' },
    ]);
    await expect(sendUpdate(test.deps, second!, ones)).rejects.toMatchObject({ code: 'late' });
    expect(await sendUpdate(test.deps, first!, ones)).toEqual({ ...receipt, status: 'duplicate' });
    await worker.turn();
    expect(await run.states()).toEqual(['failed']);
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it('fails what waits for devices', async () => {
    const run = await openRun({}, 1);
    expect(await run.states()).toEqual(['pending']);
    await stopRun(test.deps, systemPrincipal, run.runId);
    expect(await run.rounds()).toMatchObject([{ state: 'failed', reason: 'run_stopped' }]);
    await stopRun(test.deps, systemPrincipal, run.runId);
    await worker.turn();
    expect(await run.states()).toEqual(['failed']);
  });
});

it('a thing that fails does not keep the round clock from the others', async () => {
  const broken = await openRun({}, 1);
  // Settings that nobody could have written: to draw the round's cohort fails from now on.
  await test.deps.db.client`update runs set settings = '{}' where id = ${broken.runId}`;
  const sound = await seedFederation(test.deps, { devices: 2, settings: { quorum: 2 } });
  await expect(advanceRounds(test.deps)).rejects.toThrow();
  expect(await broken.states()).toEqual(['pending']);
  expect(await view.rounds(test.deps, sound.runId)).toMatchObject([{ state: 'collecting' }]);
});

it('an update of a device that was revoked while it came in is not accepted', async () => {
  const run = await openRun();
  const [first] = await openAssignments(test.deps, run.devices);
  await test.deps.db.client`update devices set state = 'revoked' where id = ${first!.device.id}`;
  await expect(sendUpdate(test.deps, first!, ones)).rejects.toMatchObject({ code: 'unavailable' });
  await worker.turn(1);
  await expect(sendUpdate(test.deps, first!, ones)).rejects.toMatchObject({ code: 'late' });
  expect(await findFaults(test.deps)).toEqual([]);
});
