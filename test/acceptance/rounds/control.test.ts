import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Round, Run, Update, Version } from '../../support/acceptance/operators.ts';
import { expectStatus } from '../../support/acceptance/requests.ts';
import { type Service, startHost } from '../../support/acceptance/services.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let service: Service;
let federation: Federation;
beforeAll(async () => {
  service = await startHost();
  federation = await createFederation(service, 4);
});
afterAll(async () => {
  await service?.close();
});

const change = (run: Run, action: 'pause' | 'resume' | 'stop') =>
  federation.operator.post<Run>(`/v1/runs/${run.id}/${action}`);

describe('a run in the hands of its operator', { timeout: 120_000 }, () => {
  it('lets the open round finish when it is paused, and opens the next when it is resumed', async () => {
    await federation.createModel('paused');
    const run = await federation.startRun('paused', { rounds: 3, deadlineMs: 60_000 });
    await federation.invitedTo(run.id, 2);
    expect(await change(run, 'pause')).toMatchObject({ state: 'paused' });
    const work = federation.work();
    await waitUntil(
      'the open round is done',
      async () => (await federation.run(run.id)).completedRounds === 1,
    );
    // Whatever would open a round now has its time: another run of as many rounds.
    await federation.createModel('meanwhile');
    const other = await federation.startRun('meanwhile', { rounds: 3 });
    await federation.finish(other.id);
    expect(await federation.rounds(run.id)).toHaveLength(1);
    expect(await federation.run(run.id)).toMatchObject({ state: 'paused', completedRounds: 1 });
    expect(await change(run, 'resume')).toMatchObject({ state: 'active' });
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 3 });
    await work.stop();
    await checkInvariants(federation);
  });

  it('fails the collecting round when it is stopped: its updates expire, later ones are late', async () => {
    await federation.createModel('stopped');
    const run = await federation.startRun('stopped', { quorum: 3, capacity: 4, deadlineMs: 60_000 });
    const [first, second] = await federation.invitedTo(run.id, 2);
    const receipt = await federation.contribute(first!.device, first!.assignment);
    expect(await change(run, 'stop')).toMatchObject({ state: 'stopped', reason: 'stopped' });
    const [round] = await federation.rounds(run.id);
    expect(round).toMatchObject({ state: 'failed', reason: 'run_stopped', openAssignments: 0 });
    expect(await federation.operator.list<Update>(`/v1/rounds/${round!.id}/updates`)).toMatchObject([
      { assignment: receipt!.assignment, state: 'expired', reason: 'run_stopped' },
    ]);
    const { file } = await federation.train(second!.assignment);
    const late = await second!.device.putUpdate(second!.assignment, file);
    expect([late.status, late.json().code]).toEqual([409, 'late']);
    expect(await change(run, 'stop')).toMatchObject({ state: 'stopped' });
    const resumed = await federation.operator.request({
      method: 'POST',
      path: `/v1/runs/${run.id}/resume`,
    });
    expect(resumed.status).toBe(409);
    await checkInvariants(federation);
  });

  it('invites another device for one that gives its assignment back', async () => {
    await federation.createModel('returned');
    const settings = { rounds: 1, quorum: 4, capacity: 4, deadlineMs: 60_000 };
    const run = await federation.startRun('returned', settings);
    const [left] = await federation.invitedTo(run.id, 4);
    // It comes when everybody is invited, and has nothing to do until somebody leaves.
    const [newcomer] = await federation.enrol(1);
    expect(await newcomer!.poll(0)).toBeUndefined();
    expect((await left!.device.giveBack(left!.assignment)).status).toBe(204);
    expect(await newcomer!.poll(20)).toMatchObject({ round: left!.assignment.round });
    expect(await left!.device.poll(0)).toBeUndefined();
    const work = federation.work();
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 1 });
    await work.stop();
    const updates = await federation.operator.list<Update>(`/v1/rounds/${left!.assignment.round}/updates`);
    const senders = updates.map(({ device }) => device);
    expect(senders).toContain(newcomer!.id);
    expect(senders).not.toContain(left!.device.id);
    await checkInvariants(federation);
  });

  it('takes no more than its capacity: the next update is told that the round is full', async () => {
    await federation.createModel('full');
    const run = await federation.startRun('full', { rounds: 1, quorum: 2, capacity: 2, deadlineMs: 60_000 });
    const invited = await federation.invitedTo(run.id, 4);
    const results = await Promise.all(
      invited.map(async ({ device, assignment }) => {
        const { file } = await federation.train(assignment);
        return device.putUpdate(assignment, file);
      }),
    );
    const refused = results.filter(({ status }) => status !== 201);
    expect(results.length - refused.length).toBe(2);
    for (const answer of refused) expect([answer.status, answer.json().code]).toEqual([409, 'full']);
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed' });
    await checkInvariants(federation);
  });

  it('measures its versions on devices beside the training, and publishes nothing by it', async () => {
    await federation.createModel('measured');
    const evaluate = { everyRounds: 2, quorum: 2, capacity: 4, deadlineMs: 60_000 };
    const run = await federation.startRun('measured', { rounds: 2, evaluate });
    const reports = new Map<string, { numExamples: number; accuracy: number }>();
    const isMeasured = async () => {
      for (const [index, device] of federation.devices.entries()) {
        const assignment = await device.poll(0);
        if (assignment?.kind === 'train') await federation.contribute(device, assignment);
        if (assignment?.kind !== 'evaluate') continue;
        const report = { numExamples: 10 * (index + 1), accuracy: (index + 1) / 8 };
        const answer = await device.putEvaluation(assignment, report.numExamples, {
          accuracy: report.accuracy,
        });
        expectStatus(answer, 200);
        reports.set(assignment.id, report);
      }
      const rounds = await federation.rounds(run.id);
      return rounds.some(({ kind, state }) => kind === 'evaluate' && state === 'completed');
    };
    await waitUntil('the second version is measured', isMeasured);
    const rounds = await federation.operator.list<Round>(`/v1/runs/${run.id}/rounds?kind=evaluate`);
    expect(rounds).toMatchObject([{ kind: 'evaluate', number: 1, baseVersion: 3, accepted: reports.size }]);
    const all = [...reports.values()];
    const examples = all.reduce((sum, { numExamples }) => sum + numExamples, 0);
    const accuracy = all.reduce((sum, report) => sum + report.numExamples * report.accuracy, 0) / examples;
    const versions = await federation.operator.list<Version>('/v1/models/measured/versions');
    expect(versions.map(({ version }) => version)).toEqual([1, 2, 3]);
    expect(versions[2]!.deviceScore!.accuracy).toBeCloseTo(accuracy, 12);
    expect(rounds[0]!.metrics!.accuracy).toBeCloseTo(accuracy, 12);
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 2 });
    await checkInvariants(federation);
  });

  it('leaves nothing open', async () => {
    await federation.settle();
    await checkInvariants(federation);
  });
});
