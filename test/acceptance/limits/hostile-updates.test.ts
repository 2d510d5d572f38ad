import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Assignment, Device, Receipt } from '../../support/acceptance/devices.ts';
import { goodUpdate, hostileFiles } from '../../support/acceptance/faults/hostile-files.ts';
import { type RawRequest, rawUpdate, sendRaw } from '../../support/acceptance/faults/raw-requests.ts';
import {
  createFederation,
  type Federation,
  keepReceipt,
  layout,
} from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import type { Round, Run } from '../../support/acceptance/operators.ts';
import { digestField, expectStatus, sha256 } from '../../support/acceptance/requests.ts';
import { type Service, startHost } from '../../support/acceptance/services.ts';

let service: Service;
let federation: Federation;
let run: Run;
let hostile: Device;
let good: Device;
let assignment: Assignment;
let file: Buffer;
let token: string;
beforeAll(async () => {
  service = await startHost();
  federation = await createFederation(service, 2);
  await federation.createModel('target');
  const polls = federation.devices.map((device) => device.poll(20));
  run = await federation.startRun('target', { rounds: 1, quorum: 2, capacity: 2, deadlineMs: 120_000 });
  const assignments = await Promise.all(polls);
  [hostile, good] = federation.devices as [Device, Device];
  assignment = assignments[0]!;
  // Half of the round is there, and folded by the time that the rest comes.
  await federation.contribute(good, assignments[1]!);
  const update = goodUpdate(layout);
  file = update.file;
  federation.witness.sent.set(sha256(file), update);
  token = await hostile.token();
});
afterAll(async () => {
  await service?.close();
});

const files = hostileFiles(layout);

describe('a hostile update over a bare socket', { timeout: 60_000 }, () => {
  it.each(Object.keys(files))('that %s is malformed', async (name) => {
    expect(await refusal(rawUpdate(assignment.update!.url, token, files[name]!))).toEqual([422, 'malformed']);
  });

  const requests: Record<string, [() => Partial<RawRequest>, [status: number, code: string]]> = {
    'whose digest is another': [
      () => ({ headers: { 'content-digest': digestField(Buffer.from('other')) } }),
      [400, 'digest_mismatch'],
    ],
    'without a digest': [() => ({ headers: { 'content-digest': undefined } }), [400, 'invalid_digest']],
    'whose digest is no digest': [
      () => ({ headers: { 'content-digest': 'sha-256=:////:' } }),
      [400, 'invalid_digest'],
    ],
    'without a length': [
      () => ({
        headers: { 'content-length': undefined, 'transfer-encoding': 'chunked' },
        body: chunked(file),
      }),
      [411, 'length_required'],
    ],
    'that is longer than it may be, before it is sent': [
      () => ({
        headers: { 'content-length': String(assignment.update!.maxBytes + 1) },
        body: Buffer.alloc(0),
      }),
      [413, 'too_large'],
    ],
    'of another media type': [
      () => ({ headers: { 'content-type': 'application/x-python-pickle' } }),
      [415, 'unsupported_media_type'],
    ],
    'without credentials': [() => ({ headers: { authorization: undefined } }), [401, 'unauthorized']],
    'with a token that nobody signed': [
      () => ({ headers: { authorization: `Bearer ${token.slice(0, -8)}AAAAAAAA` } }),
      [401, 'unauthorized'],
    ],
    'with the key of an operator': [
      () => ({ headers: { authorization: `Bearer ${service.operatorKey}` } }),
      [403, 'forbidden'],
    ],
    'for an assignment that is not its own': [
      () => ({ path: assignment.update!.url.replace(assignment.id, othersAssignment()) }),
      [404, 'not_found'],
    ],
  };

  it.each(Object.keys(requests))('%s is refused', async (name) => {
    const [change, expected] = requests[name]!;
    const { headers = {}, ...rest } = change();
    expect(await refusal({ ...rawUpdate(assignment.update!.url, token, file, headers), ...rest })).toEqual(
      expected,
    );
  });

  it('that is cut off is no update, however much of it came', async () => {
    for (const length of [0, 9, file.length - 1]) {
      const request = rawUpdate(assignment.update!.url, token, file);
      const { status } = await sendRaw(service.url(), {
        ...request,
        body: file.subarray(0, length),
        hangsUp: true,
      });
      // Whoever hung up may get no answer, but no success.
      expect([0, 400]).toContain(status);
    }
  });

  it('smuggled behind another length is no update', async () => {
    const lengths = { 'content-length': '10', 'transfer-encoding': 'chunked' };
    const request = rawUpdate(assignment.update!.url, token, chunked(file), lengths);
    expect((await sendRaw(service.url(), request)).status).toBe(400);
  });

  it('under a heap of headers is not even read', async () => {
    const heap = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`x-heap-${i}`, 'x'.repeat(1000)]));
    const request = rawUpdate(assignment.update!.url, token, file, heap);
    expect((await sendRaw(service.url(), request)).status).toBe(431);
  });

  it('has changed nothing: the version is the fold of the good updates', async () => {
    const { operator } = federation;
    const round = await operator.get<Round>(`/v1/rounds/${assignment.round}`);
    expect(round).toMatchObject({ state: 'collecting', accepted: 1, openAssignments: 1 });
    // The assignment is still open, as is said of malformed updates.
    expect(await hostile.poll(0)).toEqual(assignment);
    // What all the hostile ones were made from is good.
    const receipt = expectStatus<Receipt>(await hostile.putUpdate(assignment, file), 201);
    expect(receipt).toMatchObject({ status: 'accepted', sequence: 2 });
    keepReceipt(federation.witness, receipt);
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed', completedRounds: 1 });
    await federation.settle();
    await checkInvariants(federation);
  });

  it('after its round is over is late, or a duplicate, or a conflict', async () => {
    const url = assignment.update!.url;
    const other = rawUpdate(url, token, files['has a NaN']!);
    expect(await refusal(other)).toEqual([409, 'update_conflict']);
    const again = await sendRaw(service.url(), rawUpdate(url, token, file));
    expect([again.status, JSON.parse(again.body).status]).toEqual([200, 'duplicate']);
    await checkInvariants(federation);
  });
});

async function refusal(request: RawRequest): Promise<[number, string]> {
  const { status, body } = await sendRaw(service.url(), request);
  const { code } = JSON.parse(body) as { code: string };
  return [status, code];
}

function chunked(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n0\r\n\r\n')]);
}

function othersAssignment(): string {
  const [receipt] = federation.witness.receipts.values();
  return receipt!.assignment;
}
