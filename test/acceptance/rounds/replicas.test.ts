import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device, Receipt } from '../../support/acceptance/devices.ts';
import { createFederation, type Federation, keepReceipt } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Update } from '../../support/acceptance/operators.ts';
import { type Answer, digestField, expectStatus } from '../../support/acceptance/requests.ts';
import { startReplicas } from '../../support/acceptance/services.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let service: Awaited<ReturnType<typeof startReplicas>>;
let federation: Federation;
/** Those that talk to one replica alone. */
let here: Device[];
let there: Device[];
beforeAll(async () => {
  service = await startReplicas({ api: 2, workers: 2 });
  federation = await createFederation(service, 0);
  const [first, second] = service.replicas;
  here = await federation.enrol(3, { url: () => first!.url });
  there = await federation.enrol(3, { url: () => second!.url });
});
afterAll(async () => {
  await service?.close();
});

describe('two API replicas and two workers on one PostgreSQL', { timeout: 120_000 }, () => {
  it('train one model with devices on both, though a worker is killed', async () => {
    await federation.createModel('both');
    const work = federation.work();
    const run = await federation.startRun('both', { rounds: 6, quorum: 4, capacity: 6 });
    await waitUntil('two rounds are done', async () => (await federation.run(run.id)).completedRounds >= 2);
    const [first, second] = service.workers;
    await first!.kill9();
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 6 });
    // The other one in turn: each of them can do all of it.
    await first!.start();
    await second!.kill9();
    const next = await federation.startRun('both', { rounds: 2, quorum: 4, capacity: 6 });
    expect(await federation.finish(next.id)).toMatchObject({ state: 'completed', completedRounds: 2 });
    await second!.start();
    await work.stop();
    const rounds = await federation.rounds(run.id);
    const lists = rounds.map(({ id }) => federation.operator.list<Update>(`/v1/rounds/${id}/updates`));
    const senders = new Set((await Promise.all(lists)).flat().map(({ device }) => device));
    for (const side of [here, there]) expect(side.some(({ id }) => senders.has(id))).toBe(true);
    await checkInvariants(federation);
  });

  it('go on while a worker is frozen, whose late writes change nothing', async () => {
    await federation.createModel('frozen');
    const work = federation.work();
    const run = await federation.startRun('frozen', { rounds: 12, quorum: 4, capacity: 6 });
    const roundsDone = async () => (await federation.run(run.id)).completedRounds;
    for (const worker of [...service.workers, ...service.workers]) {
      const before = await roundsDone();
      worker.freeze();
      // Beyond its lease, or until the other has taken over. It may hold locks that only its waking frees.
      for (let looks = 0; looks < 60 && (await roundsDone()) < before + 2; looks += 1) await sleep(25);
      worker.thaw();
    }
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 12 });
    await work.stop();
    await checkInvariants(federation);
  });

  it('wake a poll that waits on the replica that did not hear of the run', async () => {
    const { operator } = federation;
    for (const model of ['wake-1', 'wake-2', 'wake-3']) {
      await federation.createModel(model);
      // Shorter than the look that is there for lost wakes: without a wake some of these come back empty.
      const polls = [...here, ...there].map((device) => device.poll(4));
      const run = await federation.startRun(model, { rounds: 1, quorum: 6, capacity: 6 });
      for (const poll of polls) expect(await poll).toMatchObject({ run: run.id });
      await operator.post(`/v1/runs/${run.id}/stop`);
    }
    await federation.settle();
    await checkInvariants(federation);
  });

  it('take an upload in parts, wherever each part arrives', async () => {
    const { assignment, file, receipt } = await uploadInParts('parts');
    expect(receipt).toMatchObject({ status: 'accepted', assignment: assignment.id });
    expect(federation.witness.sent.has(receipt.digest)).toBe(true);
    expect(file.length).toBeGreaterThan(600);
    await federation.settle();
    await checkInvariants(federation);
  });

  it('refuse a revoked device on every replica, and invite another in its place', async () => {
    const { operator } = federation;
    await federation.createModel('revoked');
    const settings = { rounds: 1, quorum: 6, capacity: 6, deadlineMs: 60_000 };
    const run = await federation.startRun('revoked', settings);
    const invited = await federation.invitedTo(run.id, 6);
    const { device, assignment } = invited[0]!;
    // It comes when everybody is invited, and has nothing to do until somebody leaves.
    const [newcomer] = await federation.enrol(1);
    expect(await newcomer!.poll(0)).toBeUndefined();
    const headers = { authorization: `Bearer ${await device.token()}` };
    await operator.post(`/v1/devices/${device.id}/revoke`);
    for (const { url } of service.replicas) {
      await waitUntil('a replica refuses its token', async () => {
        return (await fetch(`${url}/v1/devices/me`, { headers })).status === 401;
      });
    }
    expect(await newcomer!.poll(20)).toMatchObject({ round: assignment.round });
    const work = federation.work(federation.devices.filter(({ id }) => id !== device.id));
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 1 });
    await work.stop();
    const updates = await operator.list<Update>(`/v1/rounds/${assignment.round}/updates`);
    const senders = updates.map((update) => update.device);
    expect(senders).toContain(newcomer!.id);
    expect(senders).not.toContain(device.id);
    await checkInvariants(federation);
  });
});

/** One device sends its update in four parts to the replicas in turn, the others as usual. */
async function uploadInParts(model: string) {
  await federation.createModel(model);
  const run = await federation.startRun(model, { rounds: 1, quorum: 2, capacity: 6, deadlineMs: 20_000 });
  const invited = await federation.invitedTo(run.id, 2);
  const { device, assignment } = invited[0]!;
  const { file } = await federation.train(assignment);
  const [first, second] = service.replicas;
  const authorization = `Bearer ${await device.token()}`;
  const send = async (
    member: typeof first,
    path: string,
    init: RequestInit & { body?: Uint8Array<ArrayBuffer> },
  ) => {
    const response = await fetch(member!.url + path, {
      ...init,
      headers: { authorization, ...init.headers },
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const { status, headers } = response;
    return { status, headers, bytes, json: <T>() => JSON.parse(bytes.toString()) as T } satisfies Answer;
  };
  const part = (start: number, end: number) => new Uint8Array(file.subarray(start, end));
  const patch = (start: number, end: number) => ({
    method: 'PATCH',
    body: part(start, end),
    headers: {
      'content-type': 'application/partial-upload',
      'upload-offset': String(start),
      'upload-complete': end === file.length ? '?1' : '?0',
    },
  });
  const begun = await send(first, `/v1/assignments/${assignment.id}/update`, {
    method: 'POST',
    body: part(0, 100),
    headers: {
      'content-type': 'application/octet-stream',
      'upload-complete': '?0',
      'upload-length': String(file.length),
      'repr-digest': digestField(file),
    },
  });
  const { url } = expectStatus<{ url: string }>(begun, 201);
  expect((await send(second, url, { method: 'HEAD' })).headers.get('upload-offset')).toBe('100');
  expectStatus(await send(second, url, patch(100, 300)), 204);
  // The same part again, as after a lost answer: the offset tells where to go on.
  const repeated = await send(first, url, patch(100, 300));
  expect([repeated.status, repeated.headers.get('upload-offset')]).toEqual([409, '300']);
  expectStatus(await send(first, url, patch(300, 500)), 204);
  const receipt = expectStatus<Receipt>(await send(second, url, patch(500, file.length)), 201);
  keepReceipt(federation.witness, receipt);
  const again = expectStatus<Receipt>(await device.putUpdate(assignment, file), 200);
  expect(again.status).toBe('duplicate');
  keepReceipt(federation.witness, again);
  const work = federation.work();
  await federation.finish(run.id);
  await work.stop();
  return { assignment, file, receipt };
}
