import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, expect, it } from 'vitest';
import { startWire } from '../../support/acceptance/faults/wires.ts';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { checkInvariants } from '../../support/acceptance/observed/invariants.ts';
import { postmasterPid } from '../../support/acceptance/programs.ts';
import { rawHeaders } from '../../support/acceptance/requests.ts';
import { type Member, type Service, startReplicas, startServer } from '../../support/acceptance/services.ts';
import { startOwnDatabase } from '../../support/acceptance/surroundings/own-databases.ts';
import { makeWeights } from '../../support/acceptance/updates.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

/* Whatever hangs on a process, it has ended 20 s after SIGTERM, and nothing that was acknowledged is lost. */

const WITHIN_MS = 20_000;
/** In which the database is asked something and says nothing. */
const SILENT_MS = 1_000;
const PIECE_BYTES = 16_384;
/** More than the limit of a shutdown by far: nothing of these tests ends by itself. */
const patientRun = { rounds: 1, quorum: 2, capacity: 2, deadlineMs: 300_000, pendingMs: 300_000 };

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

/** The exit code after SIGTERM. */
async function terminate(member: Member): Promise<number | null> {
  const began = performance.now();
  const { code, signal } = await member.terminate();
  expect(performance.now() - began).toBeLessThan(WITHIN_MS);
  expect(signal).toBeNull();
  return code;
}

/** What came of a request in the end. */
function outcome(url: string, request: RequestInit): Promise<number | 'broken'> {
  const whole = async () => {
    const answer = await fetch(url, request);
    await answer.text();
    return answer.status;
  };
  return whole().catch(() => 'broken');
}

/** An upload at a good speed that takes far longer than a shutdown may; `isUnderWay` once much of it has been taken. */
async function uploadForEver(service: Service, { operator }: Federation) {
  const tensors = [{ name: 'w', shape: [2_000_000] }];
  await operator.post('/v1/models', { name: 'endless', manifest: { tensors } });
  const file = makeWeights(tensors, 1);
  let sent = 0;
  const body = new ReadableStream({
    async pull(controller) {
      await sleep(100);
      controller.enqueue(new Uint8Array(file.subarray(sent, sent + PIECE_BYTES)));
      sent += PIECE_BYTES;
    },
  });
  const headers = {
    ...rawHeaders(file),
    authorization: `Bearer ${service.operatorKey}`,
    'content-length': String(file.length),
  };
  const request = { method: 'POST', headers, body, duplex: 'half' } as RequestInit;
  const ended = outcome(`${service.url()}/v1/models/endless/versions`, request);
  return { ended, isUnderWay: () => sent > 10 * PIECE_BYTES };
}

/** A round that waits for its second update; the first has been acknowledged. */
async function beginRound(federation: Federation) {
  await federation.createModel('kept');
  const run = await federation.startRun('kept', patientRun);
  const [first, second] = await federation.invitedTo(run.id, 2);
  expect(await federation.contribute(first!.device, first!.assignment)).toBeDefined();
  const finish = async () => {
    expect(await federation.contribute(second!.device, second!.assignment)).toBeDefined();
    expect(await federation.finish(run.id)).toMatchObject({ state: 'completed' });
    await checkInvariants(federation);
  };
  return { finish };
}

/** PostgreSQL on a folder, with its sessions. */
async function databaseProcesses(dataDir: string): Promise<number[]> {
  const postmaster = await postmasterPid(dataDir);
  const children = execFileSync('pgrep', ['-P', String(postmaster)], { encoding: 'utf8' });
  return [postmaster, ...children.trim().split('\n').map(Number)];
}

it('cuts an upload that never ends, and lets polls and event streams end', async () => {
  const service = await startServer();
  endings.push(service.close);
  const federation = await createFederation(service, 3);
  const { finish } = await beginRound(federation);
  const idle = (await federation.enrol(2)).map(async (device) => {
    const headers = { authorization: `Bearer ${await device.token()}` };
    return outcome(`${service.url()}/v1/assignment?wait=60`, { headers });
  });
  const headers = { authorization: `Bearer ${service.operatorKey}` };
  const stream = await fetch(`${service.url()}/v1/events`, { headers });
  const upload = await uploadForEver(service, federation);
  await waitUntil('the upload is under way', upload.isUnderWay);
  expect(await terminate(service.server)).toBe(0);
  expect(await Promise.all(idle)).toEqual([204, 204]);
  await stream.text();
  expect(await upload.ended).toBe('broken');
  await service.server.start();
  await finish();
}, 120_000);

it('does not wait for an embedded PostgreSQL that says nothing', async () => {
  const service = await startServer();
  endings.push(service.close);
  const federation = await createFederation(service, 3);
  const { finish } = await beginRound(federation);
  const processes = await databaseProcesses(service.dataDir);
  const thaw = () => {
    for (const pid of processes.splice(0)) process.kill(pid, 'SIGCONT');
  };
  endings.push(thaw);
  for (const pid of processes) process.kill(pid, 'SIGSTOP');
  const headers = { authorization: `Bearer ${service.operatorKey}` };
  const hanging = outcome(`${service.url()}/v1/devices`, { headers });
  await sleep(SILENT_MS);
  expect(await terminate(service.server)).toBe(1);
  expect(await hanging).toBe('broken');
  thaw();
  await service.server.start();
  await finish();
}, 120_000);

it('does not wait for a PostgreSQL elsewhere that says nothing', async () => {
  const database = await startOwnDatabase();
  endings.push(database.close);
  const wire = await startWire(database.socket);
  endings.push(wire.close);
  const service = await startReplicas(
    { api: 1, workers: 1 },
    { DATABASE_URL: `postgres://${database.user}@127.0.0.1:${wire.port}/${database.name}` },
  );
  endings.push(service.close);
  const federation = await createFederation(service, 3);
  const { finish } = await beginRound(federation);
  wire.hold();
  const headers = { authorization: `Bearer ${service.operatorKey}` };
  const hanging = outcome(`${service.url()}/v1/devices`, { headers });
  await sleep(SILENT_MS);
  // The API has cut a request, as it may; the worker has left work undone, unless it was at rest when the silence came.
  const [api, worker] = await Promise.all(service.members.map(terminate));
  expect(api).toBe(0);
  expect([0, 1]).toContain(worker);
  expect(await hanging).toBe('broken');
  wire.resume();
  await Promise.all(service.members.map((member) => member.start()));
  await finish();
}, 120_000);
