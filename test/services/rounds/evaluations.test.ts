import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunSettings } from '../../../api/domain/run.ts';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { submitEvaluation } from '../../../api/services/rounds/evaluations.ts';
import { pauseRun, stopRun } from '../../../api/services/rounds/runs.ts';
import { createWaitingRoom } from '../../../api/services/rounds/waiting-room.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { findFaults } from '../../support/rounds/round-faults.ts';
import {
  createTestWorker,
  type DevicePrincipal,
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
const evaluate = { everyRounds: 2, quorum: 2, capacity: 3, deadlineMs: 30_000 };

async function openRun(settings: Partial<RunSettings> = {}, count = 3) {
  const seeded = await seedFederation(test.deps, {
    devices: count,
    settings: { rounds: 10, quorum: 2, capacity: 2, evaluate, ...settings },
  });
  const rounds = async (kind: 'train' | 'evaluate') =>
    (await view.rounds(test.deps, seeded.runId)).filter((round) => round.kind === kind);
  const assigned = async (kind: 'train' | 'evaluate') =>
    (await openAssignments(test.deps, seeded.devices)).filter((assignment) => assignment.kind === kind);
  /** Publishes one version after another. */
  const train = async (publications: number) => {
    for (let i = 0; i < publications; i += 1) {
      await worker.turn(2);
      for (const assignment of (await assigned('train')).slice(0, 2)) {
        await sendUpdate(test.deps, assignment, ones);
      }
      await worker.turn(2);
    }
  };
  return { ...seeded, rounds, assigned, train };
}

const report = (accuracy: number, numExamples = 10) => ({ numExamples, metrics: { accuracy } });
const send = (assignment: { id: string; device: DevicePrincipal }, accuracy: number, numExamples = 10) =>
  submitEvaluation(test.deps, assignment.device, assignment.id, report(accuracy, numExamples));

describe('evaluate rounds', () => {
  it('are opened every so many publications, beside the training', async () => {
    const run = await openRun();
    await run.train(1);
    expect(await run.rounds('evaluate')).toEqual([]);
    await run.train(1);
    expect(await run.rounds('evaluate')).toMatchObject([{ number: 1, baseVersion: 3, state: 'collecting' }]);
    await run.train(3);
    // The first is still open: training went on, and no second one was opened.
    expect(await run.rounds('evaluate')).toHaveLength(1);
    expect((await run.rounds('train')).filter(({ state }) => state === 'completed')).toHaveLength(5);
  });

  it('average what devices measured and note it at the version', async () => {
    const run = await openRun();
    await run.train(2);
    const [first, second, third] = await run.assigned('evaluate');
    await send(first!, 0.5, 30);
    await send(second!, 0.9, 10);
    await send(third!, 0.7, 40);
    await worker.turn(1);
    const [round] = await run.rounds('evaluate');
    expect(round).toMatchObject({ state: 'completed', accepted: 3, openAssignments: 0 });
    expect(round!.metrics!.accuracy).toBeCloseTo(0.65, 12);
    const versions = await view.versions(test.deps, run.modelId);
    expect(versions[2]).toMatchObject({ version: 3, deviceScore: round!.metrics });
    expect(versions[1]!.deviceScore).toBeNull();
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it('catch up with one round for all that were due while one was open', async () => {
    const run = await openRun();
    await run.train(7);
    for (const assignment of await run.assigned('evaluate')) await send(assignment, 0.5);
    await worker.turn(2);
    expect(await run.rounds('evaluate')).toMatchObject([
      { baseVersion: 3, state: 'completed' },
      { baseVersion: 8, state: 'collecting' },
    ]);
  });

  it('have a quorum and a deadline of their own', async () => {
    const run = await openRun({ deadlineMs: 600_000 });
    await run.train(2);
    const [first] = await run.assigned('evaluate');
    await send(first!, 0.5);
    test.clock.advance(evaluate.deadlineMs);
    await worker.turn(1);
    expect(await run.rounds('evaluate')).toMatchObject([{ state: 'failed', reason: 'below_quorum' }]);
    // It counts for nothing in the training, and is not tried again.
    expect(await view.run(test.deps, run.runId)).toMatchObject({ state: 'active', failedInARow: 0 });
    expect((await run.rounds('train')).at(-1)).toMatchObject({ state: 'collecting' });
    await worker.turn(2);
    expect(await run.rounds('evaluate')).toHaveLength(1);
  });

  it('close with their quorum at the deadline', async () => {
    const run = await openRun();
    await run.train(2);
    const [first, second, third] = await run.assigned('evaluate');
    await send(first!, 0.2);
    await send(second!, 0.4);
    test.clock.advance(evaluate.deadlineMs);
    await worker.turn(2);
    const [round] = await run.rounds('evaluate');
    expect(round).toMatchObject({ state: 'completed', accepted: 2 });
    await expect(send(third!, 0.5)).rejects.toMatchObject({ code: 'late' });
  });

  it('wait for their quorum without holding up the training', async () => {
    const run = await openRun({ evaluate: { ...evaluate, quorum: 4, capacity: 4 } });
    await run.train(4);
    expect(await run.rounds('evaluate')).toMatchObject([{ state: 'pending' }]);
    expect((await run.rounds('train')).filter(({ state }) => state === 'completed')).toHaveLength(4);
  });

  it('draw other devices than the training does', async () => {
    const run = await openRun({ evaluate: { ...evaluate, everyRounds: 1 } }, 40);
    await run.train(1);
    const [trained] = await run.rounds('train');
    const [evaluated] = await run.rounds('evaluate');
    expect(trained!.seed).not.toBe(evaluated!.seed);
  });
});

describe('the end of a run', () => {
  it('evaluates its last version, also between two multiples', async () => {
    const run = await openRun({ rounds: 3 });
    await run.train(2);
    for (const assignment of await run.assigned('evaluate')) await send(assignment, 0.5);
    await run.train(1);
    expect(await view.run(test.deps, run.runId)).toMatchObject({ state: 'completed' });
    for (const assignment of await run.assigned('evaluate')) await send(assignment, 0.75);
    await worker.turn();
    expect(await run.rounds('evaluate')).toMatchObject([
      { baseVersion: 3, state: 'completed' },
      { baseVersion: 4, state: 'completed', metrics: { accuracy: 0.75 } },
    ]);
  });

  it.each([
    ['that collects', 3, 'collecting', evaluate.deadlineMs],
    ['that waits for its quorum', 4, 'pending', 30_000],
  ])('evaluates its last version after an evaluate round %s', async (_name, quorum, state, ms) => {
    const run = await openRun({ rounds: 3, evaluate: { ...evaluate, quorum, capacity: 4 } });
    await run.train(3);
    expect(await view.run(test.deps, run.runId)).toMatchObject({ state: 'completed' });
    expect(await run.rounds('evaluate')).toMatchObject([{ baseVersion: 3, state }]);
    test.clock.advance(ms);
    await worker.turn();
    expect(await run.rounds('evaluate')).toMatchObject([
      { baseVersion: 3, state: 'failed' },
      { baseVersion: 4, state },
    ]);
    test.clock.advance(ms);
    await worker.turn();
    expect(await run.rounds('evaluate')).toHaveLength(2);
  });

  it('by stop fails them', async () => {
    const run = await openRun();
    await run.train(2);
    const [first] = await run.assigned('evaluate');
    await send(first!, 0.5);
    await stopRun(test.deps, systemPrincipal, run.runId);
    expect(await run.rounds('evaluate')).toMatchObject([{ state: 'failed', reason: 'run_stopped' }]);
    await worker.turn();
    expect(await run.rounds('evaluate')).toHaveLength(1);
    expect(await findFaults(test.deps)).toEqual([]);
  });

  it('a pause lets them finish and opens no other', async () => {
    const run = await openRun({ evaluate: { ...evaluate, everyRounds: 1 } });
    await run.train(2);
    await pauseRun(test.deps, systemPrincipal, run.runId);
    for (const assignment of await run.assigned('evaluate')) await send(assignment, 0.5);
    await worker.turn();
    expect(await run.rounds('evaluate')).toMatchObject([{ baseVersion: 2, state: 'completed' }]);
  });
});

describe('results', () => {
  it('get the first answer again, also when sent twice at once and after the end', async () => {
    const run = await openRun();
    await run.train(2);
    const [first, second, third] = await run.assigned('evaluate');
    const sent = await Promise.all(Array.from({ length: 6 }, () => send(first!, 0.5)));
    expect(new Set(sent.map(({ receivedAt }) => receivedAt.getTime())).size).toBe(1);
    expect(await run.rounds('evaluate')).toMatchObject([{ accepted: 1 }]);
    await send(second!, 0.5);
    await send(third!, 0.5);
    await worker.turn(1);
    test.clock.advance(60_000);
    expect(await send(first!, 0.5)).toEqual(sent[0]);
    await expect(send(first!, 0.6)).rejects.toMatchObject({ code: 'evaluation_conflict' });
    await expect(send(first!, 0.5, 11)).rejects.toMatchObject({ code: 'evaluation_conflict' });
  });

  it('are late once the round is full, and belong to evaluate assignments alone', async () => {
    const run = await openRun({ evaluate: { ...evaluate, capacity: 2 } });
    await run.train(2);
    const [first, second, third] = await run.assigned('evaluate');
    await send(first!, 0.5);
    await send(second!, 0.5);
    await expect(send(third!, 0.5)).rejects.toMatchObject({ code: 'full' });
    const [training] = await run.assigned('train');
    await expect(send(training!, 0.5)).rejects.toMatchObject({ code: 'not_in_cohort' });
    await expect(sendUpdate(test.deps, first!, ones)).rejects.toMatchObject({ code: 'not_in_cohort' });
  });
});

it('a device that has both gets the train assignment first', async () => {
  const run = await openRun({ quorum: 3, capacity: 3 });
  for (let i = 0; i < 2; i += 1) {
    await worker.turn(2);
    for (const assignment of await run.assigned('train')) await sendUpdate(test.deps, assignment, ones);
    await worker.turn(2);
  }
  const room = createWaitingRoom(test.deps);
  const [device] = run.devices;
  const poll = () => room.wait(device!, 0, new AbortController().signal);
  expect(await poll()).toMatchObject({ assignment: { kind: 'train' } });
  const training = (await run.assigned('train')).find((assignment) => assignment.device === device);
  await sendUpdate(test.deps, training!, ones);
  expect(await poll()).toMatchObject({ assignment: { kind: 'evaluate' } });
});
