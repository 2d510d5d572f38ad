import { setTimeout as sleep } from 'node:timers/promises';
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { checkSeal } from '../../../api/kernels/seals.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { UPLOAD_LIFETIME_MS } from '../../../api/services/rounds/uploads.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { assignments, auditEntries, blobs, events, rounds, updates } from '../../../api/store/schema.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  type RequestHeaders,
  type TestApp,
} from '../../support/app.ts';
import { createTestModel, problemOf, smallWeights } from '../../support/models.ts';
import { openRaw, requestHead } from '../../support/raw-http.ts';
import { digestField, rawRequest, tensorFile } from '../../support/tensor-files.ts';

const file = tensorFile(
  [
    { name: 'w', shape: [3, 2], values: [1, 2, 3, 4, 5, 6] },
    { name: 'b', shape: [2], values: [7, 8] },
  ],
  { num_examples: '10', encoding: 'f32' },
);

let test: TestApp;
let other: Awaited<ReturnType<TestApp['replica']>>;
let operator: RequestHeaders;
let device: EnrolledDevice;
let assignment: string;
let run: string;
let models = 0;

beforeAll(async () => {
  test = await createTestApp();
  other = await test.replica();
  operator = await test.operator();
});
afterAll(() => test.close());
beforeEach(async () => {
  const model = `m${++models}`;
  await createTestModel(test, operator, model, [smallWeights(1)]);
  device = await test.enrolDevice({ properties: { models: [model] } });
  const settings = { model, quorum: 1, capacity: 3, deadlineMs: 30 * 86_400_000 };
  const created = await test.app.request('/v1/runs', jsonRequest('POST', settings, operator));
  run = ((await created.json()) as { id: string }).id;
  const poll = () => test.app.request('/v1/assignment', { headers: device.headers });
  await poll();
  for (let pass = 0; pass < 3; pass += 1) await advanceRounds(test.deps);
  assignment = ((await (await poll()).json()) as { id: string }).id;
});
afterEach(async () => {
  await test.app.request(`/v1/runs/${run}/stop`, { method: 'POST', headers: operator });
});

const wholeHeaders = (whole: Uint8Array) => ({
  'repr-digest': digestField(whole),
  'upload-length': String(whole.length),
});

const begin = (
  body: Uint8Array = new Uint8Array(),
  headers: Record<string, string | undefined> = {},
  app = test.app,
) =>
  app.request(
    `/v1/assignments/${assignment}/update`,
    rawRequest('POST', body, {
      ...device.headers,
      ...wholeHeaders(file),
      'upload-complete': '?0',
      'content-digest': undefined,
      ...headers,
    }),
  );

async function begun(): Promise<string> {
  const answer = await begin();
  expect(answer.status).toBe(201);
  return answer.headers.get('location')!;
}

const append = (
  url: string,
  start: number,
  end: number,
  headers: Record<string, string | undefined> = {},
  app = test.app,
) =>
  app.request(
    url,
    rawRequest('PATCH', file.subarray(start, end), {
      ...device.headers,
      'content-type': 'application/partial-upload',
      'upload-offset': String(start),
      'upload-complete': end === file.length ? '?1' : '?0',
      'content-digest': undefined,
      ...headers,
    }),
  );

const inspect = (url: string, headers: RequestHeaders = device.headers, app = test.app) =>
  app.request(url, { method: 'HEAD', headers });

const offsetOf = async (url: string) => Number((await inspect(url)).headers.get('upload-offset'));
const recorded = () => test.deps.db.pool.select().from(updates).where(eq(updates.assignmentId, assignment));
const put = () =>
  test.app.request(`/v1/assignments/${assignment}/update`, rawRequest('PUT', file, device.headers));

describe('an upload in parts', () => {
  it('goes on whichever replica is asked, and ends with the receipt', async () => {
    const answer = await begin(file.subarray(0, 30));
    expect(answer.status).toBe(201);
    const url = answer.headers.get('location')!;
    expect(await answer.json()).toMatchObject({ url, offset: 30, bytes: file.length });
    const next = await append(url, 30, 60, {}, other.app);
    expect(next.status).toBe(204);
    expect(next.headers.get('upload-offset')).toBe('60');
    expect(next.headers.get('upload-complete')).toBe('?0');
    const state = await inspect(url, device.headers, other.app);
    expect(state.status).toBe(204);
    expect(Object.fromEntries(state.headers)).toMatchObject({
      'upload-offset': '60',
      'upload-complete': '?0',
      'upload-length': String(file.length),
      'upload-limit': `max-size=2000000000, max-age=${UPLOAD_LIFETIME_MS / 1000}`,
      'cache-control': 'no-store',
    });
    expect(await recorded()).toEqual([]);
    const last = await append(url, 60, file.length);
    expect(last.status).toBe(201);
    expect(last.headers.get('upload-complete')).toBe('?1');
    const receipt = (await last.json()) as object;
    expect(receipt).toMatchObject({ status: 'accepted', assignment, sequence: 1 });
    const [update] = await recorded();
    expect(update).toMatchObject({ numExamples: 10, bytes: file.length });
    const seal = checkSeal(update!.seal);
    seal.push(file);
    expect(seal.holds()).toBe(true);

    const repeated = await append(url, file.length, file.length, { 'upload-complete': '?1' }, other.app);
    expect(repeated.status).toBe(200);
    expect(await repeated.json()).toEqual({ ...receipt, status: 'duplicate' });
    expect((await inspect(url)).headers.get('upload-complete')).toBe('?1');
    expect(await problemOf(await append(url, 60, file.length))).toEqual({
      status: 409,
      code: 'upload_complete',
    });
  });

  it('may be one part, with Content-Digest as the digest of the whole', async () => {
    const answer = await begin(file, {
      'upload-complete': '?1',
      'repr-digest': undefined,
      'upload-length': undefined,
      'content-digest': digestField(file),
    });
    expect(answer.status).toBe(201);
    expect(answer.headers.get('upload-complete')).toBe('?1');
    expect(await answer.json()).toMatchObject({ status: 'accepted' });
    await sweepBlobs(test.deps);
    const left = test.deps.blobs.list('upload/')[Symbol.asyncIterator]();
    expect((await left.next()).done).toBe(true);
  });

  it('may be completed by an empty part, but not before all is there', async () => {
    const url = await begun();
    await append(url, 0, 100);
    const early = await append(url, 100, 100, { 'upload-complete': '?1' });
    expect(await problemOf(early)).toEqual({ status: 400, code: 'upload_length' });
    await append(url, 100, file.length, { 'upload-complete': '?0' });
    expect((await inspect(url)).headers.get('upload-complete')).toBe('?0');
    expect((await append(url, file.length, file.length, { 'upload-complete': '?1' })).status).toBe(201);
  });

  it('takes one of many parts for one offset', async () => {
    const url = await begun();
    const ends = [20, 40, 60, 80, 100, 120];
    const answers = await Promise.all(
      ends.map((end, index) => append(url, 0, end, {}, index % 2 ? other.app : test.app)),
    );
    const taken = answers.flatMap(({ status }, index) => (status === 204 ? [ends[index]!] : []));
    expect(taken).toHaveLength(1);
    for (const answer of answers.filter(({ status }) => status !== 204)) {
      expect(answer.status).toBe(409);
      expect(answer.headers.get('upload-offset')).toBe(String(taken[0]));
      expect(await answer.json()).toMatchObject({
        code: 'upload_offset',
        'expected-offset': taken[0],
        'provided-offset': 0,
      });
    }
    expect((await append(url, taken[0]!, file.length)).status).toBe(201);
  });

  it('shows its seal to nobody', async () => {
    const told = [await (await put()).text(), await (await put()).text()];
    const [update] = await recorded();
    const { roundId, seal } = update!;
    for (const path of [`rounds/${roundId}/updates`, `rounds/${roundId}`, 'audit']) {
      told.push(await (await test.app.request(`/v1/${path}`, { headers: operator })).text());
    }
    expect(told[2]).toContain(update!.digest);
    const tables = [auditEntries, events, assignments, rounds];
    for (const table of tables) told.push(JSON.stringify(await test.deps.db.pool.select().from(table)));
    for (const text of told) expect(text).not.toMatch(new RegExp(`"seal"|${seal.slice(0, 20)}`));
  });

  it('is given its receipt when it was put meanwhile', async () => {
    const url = await begun();
    await append(url, 0, 50);
    const first = (await (await put()).json()) as object;
    const last = await append(url, 50, file.length);
    expect(last.status).toBe(200);
    expect(await last.json()).toEqual({ ...first, status: 'duplicate' });
    const again = await begin();
    expect(again.status).toBe(200);
    expect(await again.json()).toEqual({ ...first, status: 'duplicate' });
  });
});

describe('an upload ends', () => {
  it('when it is given up: its parts go', async () => {
    const url = await begun();
    await append(url, 0, 50);
    expect((await test.app.request(url, { method: 'DELETE', headers: device.headers })).status).toBe(204);
    expect((await inspect(url)).status).toBe(404);
    expect(await problemOf(await append(url, 50, 60))).toEqual({ status: 404, code: 'not_found' });
    const parts = await test.deps.db.pool.select().from(blobs).where(eq(blobs.state, 'dead'));
    expect(parts.filter(({ key }) => key.startsWith(`upload/${url.split('/').at(-1)}/`))).toHaveLength(1);
    expect((await put()).status).toBe(201);
  });

  it('when it is begun anew', async () => {
    const first = await begun();
    const second = await begun();
    expect((await inspect(first)).status).toBe(404);
    expect((await inspect(second)).status).toBe(204);
  });

  it('when it is too old', async () => {
    const url = await begun();
    await append(url, 0, 50);
    test.clock.advance(UPLOAD_LIFETIME_MS + 1);
    device.headers = await device.renew();
    expect((await inspect(url)).status).toBe(404);
    expect(await problemOf(await append(url, 50, file.length))).toEqual({ status: 404, code: 'not_found' });
    expect((await sweepBlobs(test.deps)).uploads).toBeGreaterThan(0);
  });

  it.each<[string, Buffer, number, string]>([
    ['is not finite', Buffer.from(file).fill(0xff, file.length - 4), 422, 'malformed'],
    ['is no tensor file', Buffer.alloc(file.length), 422, 'malformed'],
  ])('when the whole %s, and the assignment stays open', async (_what, bad, status, code) => {
    const url = (await begin(bad.subarray(0, 40), wholeHeaders(bad))).headers.get('location')!;
    const init = rawRequest('PATCH', bad.subarray(40), {
      ...device.headers,
      'content-type': 'application/partial-upload',
      'content-digest': undefined,
      'upload-offset': '40',
      'upload-complete': '?1',
    });
    const refused = await test.app.request(url, init);
    expect(refused.headers.get('upload-complete')).toBe('?1');
    expect(await problemOf(refused)).toMatchObject({ status, code });
    expect((await inspect(url)).status).toBe(404);
    expect((await put()).status).toBe(201);
  });

  it('when the whole has another digest', async () => {
    const elsewhere = digestField(Buffer.from('something else'));
    const url = (await begin(file.subarray(0, 40), { 'repr-digest': elsewhere })).headers.get('location')!;
    expect(await problemOf(await append(url, 40, file.length))).toEqual({
      status: 400,
      code: 'digest_mismatch',
    });
    expect((await inspect(url)).status).toBe(404);
    expect(await recorded()).toEqual([]);
  });

  it('when its round is over', async () => {
    const url = await begun();
    await append(url, 0, 50);
    await test.app.request(`/v1/runs/${run}/stop`, { method: 'POST', headers: operator });
    expect(await problemOf(await append(url, 50, file.length))).toEqual({ status: 409, code: 'late' });
    expect(await problemOf(await begin())).toEqual({ status: 409, code: 'late' });
  });
});

describe('a part is refused', () => {
  it.each<[string, number, number, Record<string, string | undefined>, number, string]>([
    ['at another offset', 10, 20, {}, 409, 'upload_offset'],
    ['at a negative offset', 0, 20, { 'upload-offset': '-1' }, 400, 'invalid_request'],
    ['at a fraction', 0, 20, { 'upload-offset': '0.5' }, 400, 'invalid_request'],
    ['at an exponent', 0, 20, { 'upload-offset': '1e1' }, 400, 'invalid_request'],
    ['without an offset', 0, 20, { 'upload-offset': undefined }, 400, 'invalid_request'],
    ['without a word on completeness', 0, 20, { 'upload-complete': undefined }, 400, 'invalid_request'],
    ['with another word', 0, 20, { 'upload-complete': 'yes' }, 400, 'invalid_request'],
    ['with another length of the whole', 0, 20, { 'upload-length': '99' }, 400, 'upload_length'],
    ['that says to be the last and is not', 0, 20, { 'upload-complete': '?1' }, 400, 'upload_length'],
    [
      'with the digest of something else',
      0,
      20,
      { 'content-digest': digestField(file) },
      400,
      'digest_mismatch',
    ],
    [
      'with another type',
      0,
      20,
      { 'content-type': 'application/octet-stream' },
      415,
      'unsupported_media_type',
    ],
    ['without a length', 0, 20, { 'content-length': undefined }, 411, 'length_required'],
  ])('%s', async (_what, start, end, headers, status, code) => {
    const url = await begun();
    expect(await problemOf(await append(url, start, end, headers))).toMatchObject({ status, code });
    expect(await offsetOf(url)).toBe(0);
  });

  it('beyond the end of the whole', async () => {
    const url = await begun();
    const init = rawRequest('PATCH', Buffer.concat([file, Buffer.alloc(1)]), {
      ...device.headers,
      'content-type': 'application/partial-upload',
      'content-digest': undefined,
      'upload-offset': '0',
      'upload-complete': '?0',
    });
    expect(await problemOf(await test.app.request(url, init))).toEqual({
      status: 400,
      code: 'upload_length',
    });
  });

  it('of another device, which does not learn that the upload is there', async () => {
    const url = await begun();
    const stranger = await test.enrolDevice();
    expect((await inspect(url, stranger.headers)).status).toBe(404);
    expect((await append(url, 0, 20, stranger.headers)).status).toBe(404);
    expect((await test.app.request(url, { method: 'DELETE', headers: stranger.headers })).status).toBe(404);
    expect((await begin(new Uint8Array(), stranger.headers)).status).toBe(404);
    expect((await inspect(url, operator)).status).toBe(403);
    expect(await offsetOf(url)).toBe(0);
  });
});

describe('a beginning is refused', () => {
  it.each<[string, Record<string, string | undefined>, number, string]>([
    ['without a digest of the whole', { 'repr-digest': undefined }, 400, 'invalid_digest'],
    [
      'with the digest of a part alone',
      { 'repr-digest': undefined, 'content-digest': digestField(new Uint8Array()) },
      400,
      'invalid_digest',
    ],
    ['without the length of the whole', { 'upload-length': undefined }, 400, 'invalid_request'],
    ['with a negative length', { 'upload-length': '-5' }, 400, 'invalid_request'],
    ['larger than the model', { 'upload-length': '2000000' }, 413, 'too_large'],
    ['without a word on completeness', { 'upload-complete': undefined }, 400, 'invalid_request'],
  ])('%s', async (_what, headers, status, code) => {
    expect(await problemOf(await begin(new Uint8Array(), headers))).toMatchObject({ status, code });
  });
});

describe('over a real connection', () => {
  let server: Listening;
  beforeAll(async () => {
    server = await listen(test.app, { host: '127.0.0.1', port: 0 });
  });
  afterAll(() => server.close(0));

  const head = (method: string, url: string, start: number, headers: Record<string, string> = {}) =>
    requestHead(method, url, {
      ...device.headers,
      'content-type': 'application/partial-upload',
      'content-length': String(file.length - start),
      'upload-offset': String(start),
      'upload-complete': '?1',
      ...headers,
    });

  it('what came of a part that was cut stays, and the upload goes on from there', async () => {
    const url = await begun();
    const connection = openRaw(server.port);
    connection.send(head('PATCH', url, 0, { expect: '100-continue' }));
    await connection.until(/100 Continue/);
    connection.socket.end(file.subarray(0, 70));
    while ((await offsetOf(url)) === 0) await sleep(10);
    expect(await offsetOf(url)).toBe(70);
    expect((await inspect(url)).headers.get('upload-complete')).toBe('?0');
    expect((await append(url, 70, file.length)).status).toBe(201);
  });

  it('a beginning that was cut goes on at the place that the interim answer named', async () => {
    const connection = openRaw(server.port);
    const headers = {
      ...wholeHeaders(file),
      'content-type': 'application/octet-stream',
      'upload-draft-interop-version': '8',
    };
    connection.send(head('POST', `/v1/assignments/${assignment}/update`, 0, headers));
    const interim = await connection.until(/HTTP\/1\.1 104 [\s\S]*\r\n\r\n/);
    expect(interim).toMatch(/upload-draft-interop-version: 8/);
    const url = /location: (\S+)/.exec(interim)![1]!;
    connection.socket.end(file.subarray(0, 33));
    while ((await offsetOf(url)) === 0) await sleep(10);
    expect((await append(url, 33, file.length)).status).toBe(201);
  });

  it('there is no interim answer for a client that does not ask for it', async () => {
    const connection = openRaw(server.port);
    const headers = { ...wholeHeaders(file), 'content-type': 'application/octet-stream' };
    connection.send(head('POST', `/v1/assignments/${assignment}/update`, 0, headers));
    connection.send(file);
    expect(await connection.until(/\}$/)).toMatch(/^HTTP\/1\.1 201 /);
    connection.socket.destroy();
  });
});
