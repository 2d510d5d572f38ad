import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { BlobUnavailableError } from '../../../api/store/blobs/blob-store.ts';
import { devices, updates } from '../../../api/store/schema.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  type RequestHeaders,
  type TestApp,
} from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { openRaw, requestHead } from '../../support/raw-http.ts';
import { digestField, tensorFile } from '../../support/tensor-files.ts';
import {
  countMeasured,
  leaveDuringLookUp,
  type QuickServers,
  startQuickServers,
  toldBy,
  unreachable,
} from './servers.ts';

/* An update that is received without the router has to be received, answered and refused as the router would. */

const tensors = (last: number) => [
  { name: 'w', shape: [3, 2], values: [1, 2, 3, 4, 5, 6] },
  { name: 'b', shape: [2], values: [7, last] },
];
const metadata = { num_examples: '10', encoding: 'f32' };
const file = tensorFile(tensors(8), metadata);

let test: TestApp;
let servers: QuickServers;
let operator: RequestHeaders;
let run: string;
let device: EnrolledDevice;
let assignment: string;
let models = 0;
let isStoreBroken = false;

beforeAll(async () => {
  test = await createTestApp();
  const { blobs } = test.deps;
  const create: typeof blobs.create = async (...request) => {
    if (isStoreBroken) throw new BlobUnavailableError('it is away');
    return blobs.create(...request);
  };
  // What was open before would still be there.
  const openAhead: typeof blobs.openAhead = async () => [];
  servers = await startQuickServers({ ...test.deps, blobs: { ...blobs, create, openAhead } });
  operator = await test.operator();
});
afterAll(async () => {
  await servers?.close();
  await test?.close();
});
beforeEach(async () => {
  const model = `m${++models}`;
  await createTestModel(test, operator, model, [smallWeights(1)]);
  device = await test.enrolDevice({ properties: { models: [model] } });
  const created = await test.app.request(
    '/v1/runs',
    jsonRequest('POST', { model, quorum: 1, capacity: 3, deadlineMs: 86_400_000 }, operator),
  );
  run = ((await created.json()) as { id: string }).id;
  const poll = () => fetch(`${servers.quick.url}/v1/assignment`, { headers: device.headers });
  await (await poll()).arrayBuffer();
  for (let pass = 0; pass < 3; pass += 1) await advanceRounds(test.deps);
  assignment = ((await (await poll()).json()) as { id: string }).id;
});
afterEach(async () => {
  isStoreBroken = false;
  await test.app.request(`/v1/runs/${run}/stop`, { method: 'POST', headers: operator });
});

const path = () => `/v1/assignments/${assignment}/update`;
const headersOf = (body: Uint8Array, headers: Record<string, string> = {}) => ({
  ...device.headers,
  'content-type': 'application/octet-stream',
  'content-length': String(body.length),
  'content-digest': digestField(body),
  ...headers,
});
const send = (body: Uint8Array, headers: Record<string, string> = {}, { url } = servers.quick) =>
  fetch(url + path(), { method: 'PUT', body: Buffer.from(body), headers: headersOf(body, headers) });
const recorded = () => test.deps.db.pool.select().from(updates).where(eq(updates.assignmentId, assignment));

const remaining = (answer: Response) => Number(/r=(\d+)/.exec(answer.headers.get('ratelimit')!)?.[1]);

const measured = (status: string) => countMeasured(test.deps, 'putUpdate', status);

/** Updates that ended before they had come. */
async function countCut(): Promise<number> {
  const { values } = await test.deps.metrics.admissions.get();
  return values.find(({ labels }) => labels.admission === 'body_incomplete')?.value ?? 0;
}

describe('an update of an assignment that was just told', () => {
  it('is taken at once, recorded and measured', async () => {
    const before = await measured('2xx');
    const answer = await send(file);
    expect(answer.status).toBe(201);
    expect(servers.way).toEqual({ wasQuick: true, wasLeft: false });
    expect(await answer.json()).toMatchObject({ status: 'accepted', assignment, sequence: 1 });
    expect(await recorded()).toMatchObject([{ numExamples: 10 }]);
    expect(await measured('2xx')).toBe(before + 1);
  });

  it('is taken at once after a training that outlasted what is remembered of its key', async () => {
    test.clock.advance(60_000);
    const answer = await send(file);
    expect(answer.status).toBe(201);
    expect(servers.way).toEqual({ wasQuick: true, wasLeft: false });
    expect(await recorded()).toHaveLength(1);
  });

  it('is answered as the operation answers', async () => {
    const quick = await toldBy(await send(file));
    expect(servers.way.wasQuick).toBe(true);
    // The same from the beginning: the row alone keeps another from being accepted.
    const slow = await toldBy(await send(file, {}, servers.slow));
    expect(slow).toMatchObject({ status: 200, body: { ...quick.body, status: 'duplicate' } });
    const withoutLength = ({ headers }: typeof quick) =>
      headers.filter(([name]) => name !== 'content-length');
    expect(withoutLength(quick)).toEqual(withoutLength(slow));
    expect(quick.headers.map(([name]) => name)).toContain('content-length');
  });

  it('is a duplicate the next time, which the operation tells', async () => {
    await send(file);
    const again = await send(file);
    expect(again.status).toBe(200);
    expect(servers.way.wasLeft).toBe(true);
    expect(await again.json()).toMatchObject({ status: 'duplicate' });
    expect(await recorded()).toHaveLength(1);
  });

  it('sent twice at once is counted once', async () => {
    const answers = await Promise.all([send(file), send(file)]);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 201]);
    expect(await recorded()).toHaveLength(1);
  });

  it('may come slowly, in pieces of a byte', async () => {
    const connection = openRaw(servers.quick.port);
    connection.send(requestHead('PUT', path(), headersOf(file)));
    for (const byte of file) {
      connection.send(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await connection.until(/\}$/)).toMatch(/^HTTP\/1\.1 201 Created/);
    expect(servers.way.wasQuick).toBe(true);
    connection.socket.destroy();
  });
});

describe('is refused as the operation refuses', () => {
  const wrongDigest = { 'content-digest': digestField(Buffer.from('another')) };
  it.each<[string, Uint8Array, Record<string, string>, string]>([
    ['another digest', file, wrongDigest, 'digest_mismatch'],
    ['a value that is not finite', tensorFile(tensors(Number.NaN), metadata), {}, 'malformed'],
    ['no examples', tensorFile(tensors(8), { encoding: 'f32' }), {}, 'malformed'],
    ['no tensor file', Buffer.alloc(100, 7), {}, 'malformed'],
  ])('%s', async (_name, body, headers, code) => {
    const before = await measured('4xx');
    const quick = await send(body, headers);
    expect(servers.way.wasQuick).toBe(true);
    const slow = await send(body, headers, servers.slow);
    // Each was counted once.
    expect(remaining(slow)).toBe(remaining(quick) - 1);
    expect(await measured('4xx')).toBe(before + 2);
    const told = await toldBy(quick);
    expect(told.body).toMatchObject({ code });
    expect(told).toEqual(await toldBy(slow));
    expect(await recorded()).toEqual([]);
    expect((await send(file)).status).toBe(201);
  });

  it('what shows its fault before it has come', async () => {
    const connection = openRaw(servers.quick.port);
    const body = Buffer.alloc(1_000_000, 7);
    connection.send(requestHead('PUT', path(), headersOf(body)));
    connection.send(body.subarray(0, 100));
    const answer = await connection.until(/\}$/);
    expect(servers.way.wasQuick).toBe(true);
    expect(answer).toMatch(/^HTTP\/1\.1 422 /);
    expect(answer).toMatch(/connection: close/i);
    expect(answer).toContain('"code":"malformed"');
    connection.socket.destroy();
  });

  it('what is over a limit, counted once by each', async () => {
    const { config } = test.deps;
    const limits = { ...config.limits, perDevice: { requests: 1, seconds: 60 } };
    const limited = await startQuickServers({ ...test.deps, config: { ...config, limits } });
    try {
      expect((await send(Buffer.alloc(100, 7), {}, limited.quick)).status).toBe(422);
      const answer = await send(file, {}, limited.quick);
      expect(answer.status).toBe(429);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(answer.headers.get('ratelimit')).toMatch(/^"device";r=0;/);
      expect(await answer.json()).toMatchObject({ code: 'rate_limited', policy: 'device' });
      expect(await recorded()).toEqual([]);
    } finally {
      await limited.close();
    }
  });

  it('what is cut, and nothing is left of it', async () => {
    const connection = openRaw(servers.quick.port);
    connection.send(requestHead('PUT', path(), headersOf(file)));
    connection.send(file.subarray(0, file.length - 1));
    const before = await countCut();
    connection.socket.end();
    await expect.poll(countCut).toBe(before + 1);
    expect(servers.way.wasQuick).toBe(true);
    expect(await recorded()).toEqual([]);
    expect((await send(file)).status).toBe(201);
  });

  it('by a device whose revocation nobody has told, when its key is looked up again', async () => {
    const revoke = (state: 'active' | 'revoked') =>
      test.deps.db.pool.update(devices).set({ state }).where(eq(devices.id, device.id));
    await revoke('revoked');
    test.clock.advance(60_000);
    const answer = await send(file);
    expect(servers.way).toEqual({ wasQuick: true, wasLeft: true });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ code: 'device_revoked' });
    expect(await recorded()).toEqual([]);
    await revoke('active');
  });

  it('what is cut while the key is looked up', async () => {
    const before = await countCut();
    test.clock.advance(60_000);
    const head = requestHead('PUT', path(), headersOf(file));
    await leaveDuringLookUp(servers, test.deps, [head, file.subarray(0, 10)]);
    await expect.poll(countCut).toBe(before + 1);
    expect(await recorded()).toEqual([]);
    expect((await send(file)).status).toBe(201);
  });

  it('all, with a time to come again, while the key cannot be looked up', async () => {
    const broken = await startQuickServers(unreachable(test.deps));
    try {
      test.clock.advance(60_000);
      const before = await measured('5xx');
      const answer = await send(file, {}, broken.quick);
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await answer.json()).toMatchObject({ code: 'unavailable' });
      expect(await measured('5xx')).toBe(before + 1);
    } finally {
      await broken.close();
    }
  });

  it('all, with a time to come again, while the store is away', async () => {
    isStoreBroken = true;
    const answer = await send(file);
    expect(servers.way.wasQuick).toBe(true);
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBe('2');
    expect(await answer.json()).toMatchObject({ code: 'unavailable' });
    isStoreBroken = false;
    expect((await send(file)).status).toBe(201);
  });
});

describe('is left to the operation', () => {
  it.each<[string, Record<string, string | undefined>, number]>([
    ['without a token', { authorization: undefined }, 401],
    ['with half a token', { authorization: 'Bearer x' }, 401],
    ['of another type', { 'content-type': 'application/json' }, 415],
    ['without a digest', { 'content-digest': undefined }, 400],
    ['without a length', { 'content-length': undefined }, 411],
    ['that is too long', { 'content-length': '999999999999' }, 413],
  ])('%s', async (_name, changed, status) => {
    const headers = Object.entries({ ...headersOf(file), ...changed }).filter(
      (entry) => entry[1] !== undefined,
    );
    const connection = openRaw(servers.quick.port);
    connection.send(requestHead('PUT', path(), Object.fromEntries(headers) as Record<string, string>));
    expect(await connection.until(/\}$/)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(servers.way.wasQuick).toBe(false);
    connection.socket.destroy();
  });

  it('by another device', async () => {
    const stranger = await test.enrolDevice();
    await fetch(`${servers.quick.url}/v1/assignment`, { headers: stranger.headers });
    const answer = await send(file, stranger.headers);
    expect(servers.way.wasLeft).toBe(true);
    expect(answer.status).toBe(404);
  });

  it('by a device that was revoked', async () => {
    await test.app.request(`/v1/devices/${device.id}/revoke`, jsonRequest('POST', {}, operator));
    await expect.poll(async () => (await send(file)).status).toBe(401);
    expect(await recorded()).toEqual([]);
  });

  it('with a token that has expired', async () => {
    test.clock.advance(11 * 60_000);
    expect((await send(file)).status).toBe(401);
    expect(servers.way.wasQuick).toBe(false);
  });

  it('that asks before it sends', async () => {
    const connection = openRaw(servers.quick.port);
    connection.send(requestHead('PUT', path(), headersOf(file, { expect: '100-continue' })));
    await connection.until(/^HTTP\/1\.1 100 Continue/);
    expect(servers.way.wasQuick).toBe(false);
    connection.send(file);
    await connection.until(/HTTP\/1\.1 201 Created/);
    connection.socket.destroy();
  });
});
