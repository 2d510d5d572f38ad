import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Assignment, Device, Receipt } from '../../support/acceptance/devices.ts';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import type { Run, Update } from '../../support/acceptance/operators.ts';
import { expectStatus, rawHeaders, send, sha256 } from '../../support/acceptance/requests.ts';
import { type Member, type Service, startServer } from '../../support/acceptance/services.ts';
import { makeUpdate, makeWeights } from '../../support/acceptance/updates.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

const CLIENTS = 500;
const HEAP_MB = 400;
/** With eight times as many that wait, far fewer than there are clients: some have to be refused. */
const UPLOADS = 16;
/** More than twice the heap together; without limits the server would hold all of it. */
const MEMORY_MB = 900;
const layout = [{ name: 'w', shape: [1024, 1024] }];

let service: Service & { server: Member };
let federation: Federation;
let run: Run;
let invited: { device: Device; assignment: Assignment }[];
beforeAll(async () => {
  service = await startServer({
    NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}`,
    FEDEDGE_MAX_UPLOADS: String(UPLOADS),
  });
  federation = await createFederation(service, CLIENTS);
  const { operator } = federation;
  await operator.post('/v1/models', { name: 'crowd', manifest: { tensors: layout } });
  const body = makeWeights(layout, 1);
  const path = '/v1/models/crowd/versions';
  expectStatus(await operator.request({ method: 'POST', path, body, headers: rawHeaders(body) }), 201);
  const polls = federation.devices.map((device) => device.poll(60));
  const settings = { rounds: 1, quorum: CLIENTS, capacity: CLIENTS, deadlineMs: 600_000 };
  run = await federation.startRun('crowd', settings);
  const assignments = await Promise.all(polls);
  invited = federation.devices.map((device, i) => ({ device, assignment: assignments[i]! }));
}, 300_000);
afterAll(async () => {
  await service?.close();
}, 60_000);

/** As a good client: it stays away for as long as it is told, and comes back after a connection that broke. */
async function contribute(device: Device, assignment: Assignment, file: Buffer, setbacks: string[]) {
  const headers = { ...rawHeaders(file), authorization: `Bearer ${await device.token()}` };
  for (;;) {
    const request = { method: 'PUT', path: assignment.update!.url, body: file, headers };
    const answer = await send(service.url(), request).catch(asBroken);
    if (answer?.status === 200 || answer?.status === 201) return answer.json<Receipt>();
    setbacks.push(answer ? answer.json<{ code: string }>().code : 'connection');
    await sleep(Number(answer?.headers.get('retry-after') ?? 1) * 1000 + Math.random() * 1000);
  }
}

function asBroken(error: unknown): undefined {
  if (!(error instanceof TypeError)) throw error;
}

it(`${CLIENTS} clients that send at once into a heap of ${HEAP_MB} MB: what is acknowledged counts, nobody dies`, {
  timeout: 600_000,
}, async () => {
  expect(invited.every(({ assignment }) => assignment?.update)).toBe(true);
  const { file } = makeUpdate(layout, 3);
  const setbacks: string[] = [];
  const began = performance.now();
  const receipts = await Promise.all(
    invited.map(({ device, assignment }) => contribute(device, assignment, file, setbacks)),
  );
  const seconds = (performance.now() - began) / 1000;
  expect(new Set(receipts.map(({ assignment }) => assignment)).size).toBe(CLIENTS);
  expect(new Set(receipts.map(({ digest }) => digest))).toEqual(new Set([sha256(file)]));
  expect(setbacks.filter((code) => code !== 'overloaded' && code !== 'connection')).toEqual([]);
  const count = (code: string) => setbacks.filter((one) => one === code).length;
  expect(count('overloaded'), 'the server was asked for more than it takes').toBeGreaterThan(0);

  await waitUntil('the round is over', async () => (await federation.run(run.id)).state === 'completed');
  const [round] = await federation.rounds(run.id);
  const updates = await federation.operator.list<Update>(`/v1/rounds/${round!.id}/updates`);
  const folded = updates.filter(({ state }) => state === 'folded').map(({ assignment }) => assignment);
  expect(folded.toSorted()).toEqual(receipts.map(({ assignment }) => assignment).toSorted());
  expect(service.server.isRunning()).toBe(true);
  const peak = service.server.peakMemory();
  if (peak !== undefined) expect(peak).toBeLessThan(MEMORY_MB);
  const gigabytes = (CLIENTS * file.length) / 1e9;
  console.log(
    `${CLIENTS} updates of ${(file.length / 1e6).toFixed(1)} MB (${gigabytes.toFixed(1)} GB) in ${seconds.toFixed(1)} s, ` +
      `${count('overloaded')} told to come back, ${count('connection')} cut off; the server held at most ${peak} MB`,
  );
});
