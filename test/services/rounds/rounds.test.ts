import { setTimeout } from 'node:timers/promises';
import { eq } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { returnAssignment } from '../../../api/services/rounds/assignments.ts';
import { submitUpdate } from '../../../api/services/rounds/updates.ts';
import { createWaitingRoom } from '../../../api/services/rounds/waiting-room.ts';
import { runWorker } from '../../../api/services/worker.ts';
import { devices } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { findFaults } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  declare,
  encodeUpdate,
  openAssignments,
  readValues,
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

const ones = [1, 1, 1, 1, 1, 1, 1, 1];
const fives = [5, 5, 5, 5, 5, 5, 5, 5];

describe('a train round', () => {
  it('publishes the weighted mean as the next version and completes the run', async () => {
    const { deps } = test;
    const { devices, modelId, runId } = await seedFederation(deps, { devices: 2, settings: { capacity: 2 } });
    await worker.turn();
    const [first, second] = await openAssignments(deps, devices);
    await sendUpdate(deps, first!, ones, 3);
    await sendUpdate(deps, second!, fives, 1);
    await worker.turn();

    const [version1, version2] = await view.versions(deps, modelId);
    expect(version2).toMatchObject({ version: 2, parent: 1, metrics: { loss: 0.5 } });
    expect(await readValues(deps, version2!.blobKey)).toEqual([3, 4, 5, 6, 7, 8, 9, 10]);
    expect(await readValues(deps, version1!.blobKey)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect((await view.model(deps, modelId)).head).toBe(2);
    const [round] = await view.rounds(deps, runId);
    expect(round).toMatchObject({ state: 'completed', version: 2, accepted: 2, openAssignments: 0 });
    expect((await view.updates(deps, round!.id)).map(({ state }) => state)).toEqual(['folded', 'folded']);
    expect(await view.run(deps, runId)).toMatchObject({ state: 'completed', reason: 'rounds_done' });
  });

  it('caps the weight of one device', async () => {
    const { deps } = test;
    const strategy = { name: 'fedavg', parameters: { maxWeight: 1 } };
    const { devices, modelId } = await seedFederation(deps, {
      devices: 2,
      settings: { capacity: 2, strategy },
    });
    await worker.turn();
    const [first, second] = await openAssignments(deps, devices);
    await sendUpdate(deps, first!, ones, 1_000_000);
    await sendUpdate(deps, second!, fives, 1);
    await worker.turn();
    const versions = await view.versions(deps, modelId);
    expect(await readValues(deps, versions[1]!.blobKey)).toEqual([4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('waits for its quorum and fails when it does not come', async () => {
    const { deps, clock } = test;
    const { runId } = await seedFederation(deps, { devices: 1, settings: { maxFailedRounds: 2 } });
    await worker.turn();
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ state: 'pending' });
    clock.advance(30_000);
    await worker.turn();
    clock.advance(30_000);
    await worker.turn();
    const rounds = await view.rounds(deps, runId);
    expect(rounds.map(({ state, reason }) => [state, reason])).toEqual([
      ['failed', 'too_few_devices'],
      ['failed', 'too_few_devices'],
    ]);
    expect(await view.run(deps, runId)).toMatchObject({ state: 'failed', reason: 'max_failed_rounds' });
  });

  it('fails below quorum at its deadline: its updates expire and nothing is published', async () => {
    const { deps, clock } = test;
    const { devices, modelId, runId } = await seedFederation(deps, { devices: 3 });
    await worker.turn();
    const [first] = await openAssignments(deps, devices);
    await sendUpdate(deps, first!, ones);
    clock.advance(60_000);
    await worker.turn();
    const [round, next] = await view.rounds(deps, runId);
    expect(round).toMatchObject({ state: 'failed', reason: 'below_quorum', openAssignments: 0 });
    expect((await view.updates(deps, round!.id)).map(({ state }) => state)).toEqual(['expired']);
    const states = (await view.assignments(deps, round!.id)).map(({ state }) => state);
    expect(states.toSorted()).toEqual(['accepted', 'expired', 'expired']);
    expect(await view.versions(deps, modelId)).toHaveLength(1);
    expect(next).toMatchObject({ number: 2, state: 'collecting' });
  });

  it('closes with its quorum at the deadline', async () => {
    const { deps, clock } = test;
    const { devices, modelId, runId } = await seedFederation(deps, { devices: 3 });
    await worker.turn();
    const open = await openAssignments(deps, devices);
    await sendUpdate(deps, open[0]!, ones);
    await sendUpdate(deps, open[1]!, ones);
    await worker.turn();
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ state: 'collecting', openAssignments: 1 });
    clock.advance(60_000);
    await worker.turn();
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ state: 'completed', accepted: 2 });
    expect(await view.versions(deps, modelId)).toHaveLength(2);
    await expect(sendUpdate(deps, open[2]!, ones)).rejects.toMatchObject({ code: 'late' });
  });

  it('closes as soon as all whom it invited have answered', async () => {
    const { deps } = test;
    const { devices, runId } = await seedFederation(deps, { devices: 2, settings: { capacity: 50 } });
    await worker.turn();
    for (const assignment of await openAssignments(deps, devices)) await sendUpdate(deps, assignment, ones);
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ state: 'aggregating' });
  });

  it('invites a replacement for an assignment that is given back', async () => {
    const { deps } = test;
    const settings = { quorum: 1, capacity: 1 };
    const { devices, runId } = await seedFederation(deps, { devices: 6, settings });
    await worker.turn();
    const invited = await openAssignments(deps, devices);
    expect(invited.length).toBeLessThan(6);
    await returnAssignment(deps, invited[0]!.device, invited[0]!.id, 'battery');
    await returnAssignment(deps, invited[0]!.device, invited[0]!.id, 'battery');
    await worker.turn();
    const again = await openAssignments(deps, devices);
    expect(again).toHaveLength(invited.length);
    expect(again.map(({ device }) => device.id)).not.toContain(invited[0]!.device.id);
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ invited: invited.length + 1 });
    await expect(sendUpdate(deps, invited[0]!, ones)).rejects.toMatchObject({ code: 'not_in_cohort' });
  });

  it('ends when everybody gave up and nobody is left', async () => {
    const { deps } = test;
    const { devices, runId } = await seedFederation(deps, { devices: 2 });
    await worker.turn();
    for (const { device, id } of await openAssignments(deps, devices)) {
      await returnAssignment(deps, device, id, 'no_data');
    }
    await worker.turn(1);
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ state: 'failed', reason: 'below_quorum' });
  });

  it('replaces a device that is revoked; what it had sent stays', async () => {
    const { deps } = test;
    const seeded = await seedFederation(deps, { devices: 3, settings: { capacity: 3, quorum: 3 } });
    await worker.turn();
    const open = await openAssignments(deps, seeded.devices);
    await sendUpdate(deps, open[0]!, ones);
    for (const { device } of open.slice(0, 2)) {
      await deps.db.pool.update(devices).set({ state: 'revoked' }).where(eq(devices.id, device.id));
    }
    await worker.turn(1);
    const [round] = await view.rounds(deps, seeded.runId);
    expect(round).toMatchObject({ state: 'collecting', accepted: 1, openAssignments: 1 });
    await expect(sendUpdate(deps, open[1]!, ones)).rejects.toMatchObject({ code: 'late' });
    expect((await view.updates(deps, round!.id)).map(({ state }) => state)).toEqual(['accepted']);
  });
});

describe('admission', () => {
  it('answers the same update with the first receipt, even after the round has ended', async () => {
    const { deps, clock } = test;
    const { devices } = await seedFederation(deps, { devices: 2, settings: { capacity: 2 } });
    await worker.turn();
    const [first, second] = await openAssignments(deps, devices);
    const receipt = await sendUpdate(deps, first!, ones);
    clock.advance(1000);
    expect(await sendUpdate(deps, first!, ones)).toEqual({ ...receipt, status: 'duplicate' });
    await sendUpdate(deps, second!, fives);
    await worker.turn();
    expect(await sendUpdate(deps, first!, ones)).toEqual({ ...receipt, status: 'duplicate' });
    await expect(sendUpdate(deps, first!, fives)).rejects.toMatchObject({ code: 'update_conflict' });
  });

  it('takes one of two that race for the last place', async () => {
    const { deps } = test;
    const settings = { quorum: 1, capacity: 1 };
    const { devices, runId } = await seedFederation(deps, { devices: 3, settings });
    await worker.turn();
    const open = await openAssignments(deps, devices);
    const answers = await Promise.allSettled(open.map((assignment) => sendUpdate(deps, assignment, ones)));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === 'rejected') expect(answer.reason).toMatchObject({ code: 'full' });
    }
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ accepted: 1, state: 'aggregating' });
  });

  it('refuses an update whose assignment was given back while it came in, also the last one', async () => {
    const { deps } = test;
    const { devices } = await seedFederation(deps, { devices: 2 });
    await worker.turn();
    for (const { device, id } of await openAssignments(deps, devices)) {
      const file = declare(encodeUpdate(ones));
      const sending = submitUpdate(deps, device, id, {
        ...file,
        body: async function* (look) {
          await returnAssignment(deps, device, id, 'busy');
          yield* file.body(look);
        },
      });
      await expect(sending).rejects.toMatchObject({ code: 'not_in_cohort' });
    }
    expect(await findFaults(deps)).toEqual([]);
  });

  it('takes one update of an assignment that is sent twice at once', async () => {
    const { deps } = test;
    const { devices, runId } = await seedFederation(deps, { devices: 3 });
    await worker.turn();
    const [first] = await openAssignments(deps, devices);
    const receipts = await Promise.all([sendUpdate(deps, first!, ones), sendUpdate(deps, first!, ones)]);
    expect(receipts.map(({ status }) => status).toSorted()).toEqual(['accepted', 'duplicate']);
    expect((await view.rounds(deps, runId))[0]).toMatchObject({ accepted: 1 });
  });
});

it('300 rounds under 8 concurrent posters: none stuck, none over capacity', async () => {
  const { deps } = test;
  const settings = { rounds: 300, quorum: 2, capacity: 3, maxFailedRounds: 1000, retainUpdates: false };
  const { devices, runId, modelId } = await seedFederation(deps, { devices: 8, settings });
  const over = new AbortController();
  const waitingRoom = createWaitingRoom(deps);
  const working = runWorker(deps, { signal: over.signal });
  const posters = devices.map(async (device) => {
    while (!over.signal.aborted) {
      const polled = await waitingRoom.wait(device, 5000, over.signal);
      if (polled.status === 'none') continue;
      await sendUpdate(deps, { id: polled.assignment.id, device }, ones).catch(ignoreRefusal);
    }
  });
  while ((await view.run(deps, runId)).state === 'active') await setTimeout(200);
  over.abort();
  await Promise.all([working, ...posters]);
  const rounds = await view.rounds(deps, runId);
  expect(rounds.filter(({ state }) => state !== 'completed' && state !== 'failed')).toEqual([]);
  expect(Math.max(...rounds.map(({ accepted }) => accepted))).toBeLessThanOrEqual(3);
  expect((await view.versions(deps, modelId)).map(({ version }) => version)).toEqual(
    Array.from({ length: 301 }, (_, index) => index + 1),
  );
}, 240_000);

function ignoreRefusal(error: { code?: string }): void {
  if (!['late', 'full', 'not_in_cohort'].includes(error.code ?? '')) throw error;
}
