import { afterEach, beforeEach, expect, it } from 'vitest';
import { createMeasurements } from '../../api/services/measurements.ts';
import { advanceRounds } from '../../api/services/rounds/round-clock.ts';
import { createTestApp, type TestApp } from '../support/app.ts';
import {
  createTestWorker,
  openAssignments,
  seedFederation,
  sendUpdate,
  view,
} from '../support/rounds/rounds.ts';

let test: TestApp;
beforeEach(async () => {
  test = await createTestApp();
});
afterEach(() => test.close());

/** A fresh look: an answer is otherwise kept for a moment. */
async function pendingFolds(): Promise<number> {
  const { text } = await createMeasurements(test.deps)();
  return Number(/^fededge_pending_folds (\d+)$/m.exec(text)?.[1]);
}

it('tells how many updates wait to be folded, over all rounds, until they are published', async () => {
  const settings = { quorum: 2, capacity: 3 };
  const first = await seedFederation(test.deps, { devices: 3, settings, labels: { site: 'a' } });
  const second = await seedFederation(test.deps, { devices: 3, settings, labels: { site: 'b' } });
  await advanceRounds(test.deps);
  expect(await pendingFolds()).toBe(0);
  const send = async (devices: typeof first.devices, count: number) => {
    const open = await openAssignments(test.deps, devices);
    for (const each of open.slice(0, count)) await sendUpdate(test.deps, each!, Array(8).fill(1), 1);
  };
  await send(first.devices, 3);
  await send(second.devices, 1);
  expect(await pendingFolds()).toBe(4);

  const worker = createTestWorker(test.deps, { holder: 'test' });
  try {
    await worker.turn();
  } finally {
    await worker.close();
  }
  expect((await view.rounds(test.deps, first.runId))[0]?.state).toBe('completed');
  // The other round's one, which the next checkpoint will have.
  expect(await pendingFolds()).toBe(1);
});
