import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selectRange } from '../../../api/http/wire/ranges.ts';
import { newId } from '../../../api/store/ids.ts';
import { assignments, models, rounds, runs } from '../../../api/store/schema.ts';
import { createTestApp, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createTestModel, problemOf, smallWeights } from '../../support/models.ts';
import { defaultSettings } from '../../support/rounds/rounds.ts';
import { digestField, sha256 } from '../../support/tensor-files.ts';

const file = smallWeights(1);
const size = file.length;
const etag = `"${sha256(file)}"`;
const path = '/v1/models/m/versions/1/weights';

let test: TestApp;
let operator: RequestHeaders;
beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
  await createTestModel(test, operator, 'm', [file, smallWeights(2), smallWeights(3)]);
});
afterAll(() => test.close());

const ask = (headers: Record<string, string> = {}, method = 'GET') =>
  test.app.request(path, { method, headers: { ...operator, ...headers } });
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

describe('a download', () => {
  it('is the file, and says all that a cache needs', async () => {
    const response = await ask();
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      etag,
      'content-length': String(size),
      'content-type': 'application/octet-stream',
      'cache-control': 'private, max-age=31536000, immutable',
      'accept-ranges': 'bytes',
      'content-digest': digestField(file),
      'repr-digest': digestField(file),
    });
    expect(await bytesOf(response)).toEqual(file);
  });

  it('has the same headers and no body for HEAD', async () => {
    const response = await ask({}, 'HEAD');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-length')).toBe(String(size));
    expect(response.headers.get('etag')).toBe(etag);
    expect((await bytesOf(response)).length).toBe(0);
  });

  it.each([etag, `W/${etag}`, `"other", ${etag}`, '*'])('is 304 for If-None-Match: %s', async (tag) => {
    const response = await ask({ 'if-none-match': tag, range: 'bytes=0-1' });
    expect(response.status).toBe(304);
    expect(response.headers.get('etag')).toBe(etag);
    expect(response.headers.get('cache-control')).toContain('immutable');
    expect((await bytesOf(response)).length).toBe(0);
  });

  it('comes for another tag', async () => {
    expect((await ask({ 'if-none-match': '"other"' })).status).toBe(200);
  });

  it('knows the variant f32 alone', async () => {
    const response = await test.app.request(`${path}?variant=f32`, { headers: operator });
    expect(response.status).toBe(200);
    const other = await test.app.request(`${path}?variant=int9`, { headers: operator });
    expect(await problemOf(other)).toMatchObject({ status: 400, code: 'invalid_request' });
  });
});

describe('a range', () => {
  it.each<[string, number, number]>([
    ['bytes=0-0', 0, 1],
    ['bytes=0-9', 0, 10],
    ['bytes=10-', 10, size],
    [`bytes=5-${size * 2}`, 5, size],
    ['bytes=-4', size - 4, size],
    [`bytes=-${size * 2}`, 0, size],
    [`bytes=${size - 1}-`, size - 1, size],
    ['BYTES=1-2', 1, 3],
  ])('%s is the part', async (range, start, end) => {
    for (const conditions of [{}, { 'if-range': etag }]) {
      const response = await ask({ range, ...conditions });
      expect(response.status).toBe(206);
      expect(response.headers.get('content-range')).toBe(`bytes ${start}-${end - 1}/${size}`);
      expect(response.headers.get('content-length')).toBe(String(end - start));
      expect(response.headers.get('repr-digest')).toBe(digestField(file));
      expect(response.headers.get('content-digest')).toBeNull();
      expect(await bytesOf(response)).toEqual(file.subarray(start, end));
    }
  });

  it.each([`bytes=${size}-`, `bytes=${size * 3}-${size * 4}`, 'bytes=-0'])(
    '%s is not there',
    async (range) => {
      const response = await ask({ range });
      expect(response.headers.get('content-range')).toBe(`bytes */${size}`);
      expect(await problemOf(response)).toEqual({ status: 416, code: 'range_not_satisfiable' });
    },
  );

  it.each([
    'bytes=',
    'bytes=-',
    'bytes=9-5',
    'bytes=a-b',
    'bytes=0-1,4-5',
    'items=0-1',
    'bytes 0-1',
    'bytes=1--2',
  ])('%s is ignored', async (range) => {
    const response = await ask({ range });
    expect(response.status).toBe(200);
    expect(await bytesOf(response)).toEqual(file);
  });

  it.each(['"other"', `W/${etag}`, 'Sat, 31 Jan 2026 12:00:00 GMT'])(
    'of another file (If-Range: %s) is the whole',
    async (ifRange) => {
      const response = await ask({ range: 'bytes=0-1', 'if-range': ifRange });
      expect(response.status).toBe(200);
      expect(await bytesOf(response)).toEqual(file);
    },
  );

  it('never leaves the file, however large its numbers are', () => {
    const selected = selectRange(10, etag, { range: 'bytes=0-999999999999999', ifRange: undefined });
    expect(selected).toEqual({ start: 0, end: 10 });
  });
});

describe('who may download', () => {
  async function assignVersion(deviceId: string, baseVersion: number, state: 'open' | 'accepted') {
    const now = test.clock.now();
    const { pool } = test.deps.db;
    const [model] = await pool.select().from(models);
    const base = { federationId: 'default', createdAt: now };
    const [runId, roundId] = [newId(now), newId(now)];
    await pool.insert(runs).values({
      ...base,
      id: runId,
      name: '',
      modelId: model!.id,
      state: 'stopped',
      settings: defaultSettings,
    });
    await pool.insert(rounds).values({
      federationId: 'default',
      id: roundId,
      runId,
      modelId: model!.id,
      kind: 'train',
      number: 1,
      state: 'collecting',
      baseVersion,
      seed: 1,
      quorum: 1,
      capacity: 1,
      openedAt: now,
      pendingUntil: now,
    });
    await pool
      .insert(assignments)
      .values({ ...base, id: newId(now), roundId, deviceId, kind: 'train', state });
  }

  const fetchVersion = async (version: number, headers: RequestHeaders) =>
    (await test.app.request(`/v1/models/m/versions/${version}/weights`, { headers })).status;

  it('a device: the current version, and what its open assignment names', async () => {
    const device = await test.enrolDevice();
    expect(await fetchVersion(3, device.headers)).toBe(200);
    expect(await fetchVersion(1, device.headers)).toBe(404);
    await assignVersion(device.id, 1, 'open');
    expect(await fetchVersion(1, device.headers)).toBe(200);
    expect(await fetchVersion(2, device.headers)).toBe(404);
    const other = await test.enrolDevice();
    await assignVersion(other.id, 2, 'accepted');
    expect(await fetchVersion(2, other.headers)).toBe(404);
    expect(await fetchVersion(1, other.headers)).toBe(404);
  });

  it('operators of every role: any version; nobody else', async () => {
    for (const role of ['viewer', 'operator', 'releaser'] as const) {
      expect(await fetchVersion(1, await test.operator(role))).toBe(200);
    }
    expect((await test.app.request(path)).status).toBe(401);
  });
});

it('a blob that is gone is a problem, not half an answer', async () => {
  await createTestModel(test, operator, 'lost', [smallWeights(4)]);
  for await (const { key, bytes } of test.deps.blobs.list('version/')) {
    const chunks: Buffer[] = [];
    for await (const chunk of test.deps.blobs.read(key, { start: 0, end: bytes }))
      chunks.push(Buffer.from(chunk));
    if (Buffer.concat(chunks).equals(smallWeights(4))) await test.deps.blobs.delete(key);
  }
  const response = await test.app.request('/v1/models/lost/versions/1/weights', { headers: operator });
  expect(await problemOf(response)).toMatchObject({ status: 500, code: 'internal' });
});
