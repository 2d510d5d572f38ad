import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Assignment, Device, Receipt } from '../../support/acceptance/devices.ts';
import { type LossyProxy, startLossyProxy } from '../../support/acceptance/faults/proxies.ts';
import { createFederation, type Federation, keepReceipt } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Round, Run, Update } from '../../support/acceptance/operators.ts';
import { digestField, expectStatus } from '../../support/acceptance/requests.ts';
import { type Service, startHost } from '../../support/acceptance/services.ts';
import { waitFor } from '../../support/acceptance/waiting.ts';

let service: Service;
let federation: Federation;
let proxy: LossyProxy;
let device: Device;
let run: Run;
beforeAll(async () => {
  service = await startHost();
  proxy = await startLossyProxy(() => service.url());
  federation = await createFederation(service, 0);
  await federation.createModel('lossy');
});
afterAll(async () => {
  await proxy?.close();
  await service?.close();
});

const poll = (kind: Assignment['kind']) =>
  waitFor(`there is something to ${kind}`, async () => {
    const assignment = await device.poll(2);
    return assignment?.kind === kind ? assignment : undefined;
  });
const updatesOf = ({ round }: { round: string }) =>
  federation.operator.list<Update>(`/v1/rounds/${round}/updates`);

/** In the order of a device's life: each goes on where the one before it left. */
describe('a device whose answers are lost, each once', { timeout: 120_000 }, () => {
  it('is registered once, and gets a token', async () => {
    const registered = proxy.loseNext('POST', /^\/v1\/devices$/);
    const authorized = proxy.loseNext('POST', /^\/v1\/token$/);
    [device] = (await federation.enrol(1, { url: () => proxy.url })) as [Device];
    expect(JSON.parse((await registered).body.toString())).toMatchObject({ id: device.id });
    expectStatus(await device.request({ method: 'GET', path: '/v1/devices/me' }), 200);
    expect((await authorized).status).toBe(200);
    const { operator } = federation;
    expect(await operator.list('/v1/devices')).toMatchObject([{ id: device.id }]);
    expect(await operator.list('/v1/enrollment-tokens')).toEqual([
      expect.objectContaining({ name: 'acceptance', uses: 1 }),
    ]);
  });

  it('gets the same assignment again, and its file', async () => {
    const evaluate = { everyRounds: 1, quorum: 1, capacity: 1, deadlineMs: 60_000 };
    const settings = { rounds: 2, quorum: 1, capacity: 1, deadlineMs: 60_000, evaluate };
    const assigned = proxy.loseNext('GET', /^\/v1\/assignment\?/);
    const downloaded = proxy.loseNext('GET', /\/weights\?/);
    run = await federation.startRun('lossy', settings);
    const assignment = await poll('train');
    expect(JSON.parse((await assigned).body.toString())).toEqual(assignment);
    const file = await device.download(assignment);
    expect((await downloaded).body.equals(file)).toBe(true);
  });

  it('has sent one update, and gets the first receipt', async () => {
    const assignment = await poll('train');
    const accepted = proxy.loseNext('PUT', /\/update$/);
    const receipt = await federation.contribute(device, assignment);
    const first = JSON.parse((await accepted).body.toString()) as Receipt;
    expect(first.status).toBe('accepted');
    expect(receipt).toEqual({ ...first, status: 'duplicate' });
    expect(await updatesOf(assignment)).toMatchObject([{ assignment: assignment.id, sequence: 1 }]);
  });

  it('has given an assignment back once', async () => {
    const assignment = await waitFor('the second round', async () => {
      const found = await poll('train');
      return found.roundNumber === 2 ? found : undefined;
    });
    const returned = proxy.loseNext('DELETE', /^\/v1\/assignments\//);
    expect((await device.giveBack(assignment)).status).toBe(204);
    expect((await returned).status).toBe(204);
    const round = await waitFor('the round is over', async () => {
      const found = await federation.operator.get<Round>(`/v1/rounds/${assignment.round}`);
      return found.state === 'failed' ? found : undefined;
    });
    expect(round).toMatchObject({ reason: 'below_quorum', invited: 1, accepted: 0, openAssignments: 0 });
  });

  it('has uploaded one update in parts', async () => {
    const assignment = await poll('train');
    const { file } = await federation.train(assignment);
    const begun = proxy.loseNext('POST', /\/update$/);
    const begin = await device.request({
      method: 'POST',
      path: assignment.update!.url,
      body: file.subarray(0, 200),
      headers: {
        'content-type': 'application/octet-stream',
        'upload-complete': '?0',
        'upload-length': String(file.length),
        'repr-digest': digestField(file),
      },
    });
    const { url } = expectStatus<{ url: string }>(begin, 201);
    expect(JSON.parse((await begun).body.toString()).url).not.toBe(url);
    const append = (start: number, end: number) =>
      device.request({
        method: 'PATCH',
        path: url,
        body: file.subarray(start, end),
        headers: {
          'content-type': 'application/partial-upload',
          'upload-offset': String(start),
          'upload-complete': end === file.length ? '?1' : '?0',
        },
      });
    const appended = proxy.loseNext('PATCH', /^\/v1\/uploads\//);
    // The repeat is refused, and told where the upload stands: at the end of the part that was kept.
    const repeat = await append(200, 400);
    expect((await appended).status).toBe(204);
    expect([repeat.status, repeat.headers.get('upload-offset')]).toEqual([409, '400']);
    const completed = proxy.loseNext('PATCH', /^\/v1\/uploads\//);
    expect((await append(400, file.length)).status).toBe(409);
    const first = JSON.parse((await completed).body.toString()) as Receipt;
    const receipt = expectStatus<Receipt>(await append(file.length, file.length), 200);
    expect(receipt).toEqual({ ...first, status: 'duplicate' });
    keepReceipt(federation.witness, receipt);
    expect(await updatesOf(assignment)).toMatchObject([{ assignment: assignment.id, digest: first.digest }]);
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 2 });
  });

  it('has reported one evaluation, and gets the first answer', async () => {
    const assignment = await poll('evaluate');
    const reported = proxy.loseNext('PUT', /\/evaluation$/);
    const answer = await device.putEvaluation(assignment, 10, { accuracy: 0.75 });
    expect(answer.status).toBe(200);
    expect(answer.json()).toEqual(JSON.parse((await reported).body.toString()));
    const round = await federation.operator.get<Round>(`/v1/rounds/${assignment.round}`);
    expect(round).toMatchObject({ kind: 'evaluate', accepted: 1 });
  });

  it('has changed its key once', async () => {
    const rotated = proxy.loseNext('POST', /^\/v1\/devices\/me\/key$/);
    const used = proxy.loseNext('POST', /^\/v1\/token$/);
    const answer = await device.rotateKey();
    expect(answer.json()).toEqual(JSON.parse((await rotated).body.toString()));
    expect((await used).status).toBe(200);
    expectStatus(await device.request({ method: 'GET', path: '/v1/devices/me' }), 200);
    const entries = await federation.operator.list<{ action: string }>('/v1/audit');
    const actions = entries.map(({ action }) => action).filter((action) => action.endsWith('_key'));
    expect(actions).toEqual(['device.rotate_key', 'device.replace_key']);
  });

  it('leaves the federation as if nothing had been lost', async () => {
    const work = federation.work();
    await federation.settle();
    await work.stop();
    await checkInvariants(federation);
  });
});
