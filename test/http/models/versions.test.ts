import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobs, models } from '../../../api/store/schema.ts';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createTestModel, problemOf, smallWeights } from '../../support/models.ts';
import { digestField, rawRequest, sha256, tensorFile } from '../../support/tensor-files.ts';

let test: TestApp;
let operator: RequestHeaders;
beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
});
afterAll(() => test.close());

const upload = (model: string, file: Uint8Array, headers: Record<string, string | undefined> = {}) =>
  test.app.request(`/v1/models/${model}/versions`, rawRequest('POST', file, { ...operator, ...headers }));
const get = (path: string, headers: Record<string, string> = operator) => test.app.request(path, { headers });

async function startRun(model: string): Promise<string> {
  const answer = await test.app.request('/v1/runs', jsonRequest('POST', { model }, operator));
  expect(answer.status).toBe(201);
  return ((await answer.json()) as { id: string }).id;
}

describe('uploading weights', () => {
  it('makes versions 1, 2 with parents, moves the head and keeps the bytes', async () => {
    await createTestModel(test, operator, 'grows');
    const first = await upload('grows', smallWeights(1));
    expect(first.status).toBe(201);
    expect(await first.json()).toMatchObject({
      model: 'grows',
      version: 1,
      parent: null,
      round: null,
      digest: sha256(smallWeights(1)),
      bytes: smallWeights(1).length,
      downloads: [{ role: 'weights', url: '/v1/models/grows/versions/1/weights?variant=f32' }],
    });
    expect(await (await upload('grows', smallWeights(2))).json()).toMatchObject({ version: 2, parent: 1 });
    expect(await (await get('/v1/models/grows')).json()).toMatchObject({ head: 2 });
    const stored = await get('/v1/models/grows/versions/1/weights');
    expect(sha256(new Uint8Array(await stored.arrayBuffer()))).toBe(sha256(smallWeights(1)));
    const list = (await (await get('/v1/models/grows/versions?order=newest')).json()) as { items: unknown[] };
    expect(list.items).toMatchObject([{ version: 2 }, { version: 1 }]);
  });

  it('keeps the padding and the metadata of the file, so that its digest stays', async () => {
    await createTestModel(test, operator, 'exact');
    const tensors = [
      { name: 'w', shape: [3, 2] },
      { name: 'b', shape: [2] },
    ];
    const file = tensorFile(tensors, { source: 'elsewhere' });
    await upload('exact', file);
    const stored = await get('/v1/models/exact/versions/1/weights');
    expect(sha256(new Uint8Array(await stored.arrayBuffer()))).toBe(sha256(file));
  });

  it('answers a repeat with the head, without a second version', async () => {
    await createTestModel(test, operator, 'repeat', [smallWeights(3)]);
    const again = await upload('repeat', smallWeights(3));
    expect(again.status).toBe(200);
    expect(await again.json()).toMatchObject({ version: 1 });
  });

  it('gives versions without gaps to uploads at once', async () => {
    await createTestModel(test, operator, 'race');
    const answers = await Promise.all([1, 2, 3, 4, 5].map((fill) => upload('race', smallWeights(fill))));
    expect(answers.map(({ status }) => status)).toEqual(Array(5).fill(201));
    const made = (await Promise.all(answers.map((answer) => answer.json()))) as {
      version: number;
      parent: number | null;
    }[];
    const sorted = made.sort((a, b) => a.version - b.version);
    expect(sorted.map(({ version }) => version)).toEqual([1, 2, 3, 4, 5]);
    expect(sorted.map(({ parent }) => parent)).toEqual([null, 1, 2, 3, 4]);
  });

  it('is refused while a run is not over', async () => {
    await createTestModel(test, operator, 'busy', [smallWeights(1)]);
    const run = await startRun('busy');
    expect(await problemOf(await upload('busy', smallWeights(2)))).toEqual({
      status: 409,
      code: 'model_busy',
    });
    await test.app.request(`/v1/runs/${run}/pause`, { method: 'POST', headers: operator });
    expect(await problemOf(await upload('busy', smallWeights(2)))).toEqual({
      status: 409,
      code: 'model_busy',
    });
    await test.app.request(`/v1/runs/${run}/stop`, { method: 'POST', headers: operator });
    expect((await upload('busy', smallWeights(2))).status).toBe(201);
  });

  it('is refused when a run begins while the body comes', async () => {
    await createTestModel(test, operator, 'meanwhile', [smallWeights(1)]);
    const file = smallWeights(2);
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          await startRun('meanwhile');
          controller.enqueue(file);
          controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    const init = { ...rawRequest('POST', file, operator), body, duplex: 'half' };
    const answer = await test.app.request('/v1/models/meanwhile/versions', init as RequestInit);
    expect(await problemOf(answer)).toEqual({ status: 409, code: 'model_busy' });
    expect(await (await get('/v1/models/meanwhile')).json()).toMatchObject({ head: 1 });
  });
});

describe('weights are refused', () => {
  beforeAll(() => createTestModel(test, operator, 'strict'));
  const w = { name: 'w', shape: [3, 2] };
  const b = { name: 'b', shape: [2] };
  const sound = smallWeights();

  it.each<[string, Uint8Array, string]>([
    ['a tensor is missing', tensorFile([w]), 'tensor b is missing'],
    [
      'a tensor is not of the manifest',
      tensorFile([w, b, { name: 'c', shape: [1] }]),
      'tensor c is not in the manifest',
    ],
    ['a name is wrong', tensorFile([w, { ...b, name: 'B' }]), 'tensor b is missing'],
    ['a shape is wrong', tensorFile([{ ...w, shape: [2, 3] }, b]), 'tensor w has shape [2,3], not [3,2]'],
    ['a dtype is wrong', tensorFile([w, { ...b, dtype: 'F16' }]), 'tensor b has dtype F16, not F32'],
    ['the order is wrong', tensorFile([b, w]), "tensor w is not in the manifest's order"],
    ['a value is not finite', smallWeights(Number.NaN), 'a value is not finite'],
    ['bytes follow', Buffer.concat([sound, Buffer.alloc(1)]), '1 bytes follow the last tensor'],
    ['it is cut', sound.subarray(0, -1), 'the file ends before its last tensor does'],
  ])('when %s', async (_what, file, reason) => {
    expect(await problemOf(await upload('strict', file))).toEqual({ status: 422, code: 'malformed', reason });
  });

  it.each<[string, Record<string, string | undefined>, number, string]>([
    ['has no digest', { 'content-digest': undefined }, 400, 'invalid_digest'],
    ['has another algorithm alone', { 'content-digest': 'sha-512=:AAAA:' }, 400, 'invalid_digest'],
    ['has a digest that is none', { 'content-digest': 'sha-256=:AAAA:' }, 400, 'invalid_digest'],
    [
      'has the digest of something else',
      { 'content-digest': digestField(Buffer.from('else')) },
      400,
      'digest_mismatch',
    ],
    ['has no length', { 'content-length': undefined }, 411, 'length_required'],
    ['has a length that is none', { 'content-length': '1e3' }, 411, 'length_required'],
    ['is shorter than declared', { 'content-length': String(sound.length + 1) }, 422, 'malformed'],
    ['is longer than declared', { 'content-length': String(sound.length - 1) }, 400, 'body_incomplete'],
    ['is larger than a model can be', { 'content-length': String(8 << 20) }, 413, 'too_large'],
    ['is larger than anything may be', { 'content-length': '99999999999' }, 413, 'too_large'],
    ['is JSON', { 'content-type': 'application/json' }, 415, 'unsupported_media_type'],
    ['has no type', { 'content-type': undefined }, 415, 'unsupported_media_type'],
  ])('when the body %s', async (_what, headers, status, code) => {
    expect(await problemOf(await upload('strict', sound, headers))).toMatchObject({ status, code });
  });

  it('and nothing of them stays', async () => {
    expect(await (await get('/v1/models/strict')).json()).toMatchObject({ head: null });
    const [model] = await test.deps.db.pool.select().from(models).where(eq(models.name, 'strict'));
    expect(model?.head).toBeNull();
    const writing = await test.deps.db.pool.select().from(blobs).where(eq(blobs.state, 'writing'));
    expect(writing).toEqual([]);
  });

  it('takes a digest beside others, and a type with parameters', async () => {
    const field = `sha-512=:AAAA:, ${digestField(sound)}`;
    const headers = { 'content-digest': field, 'content-type': 'Application/Octet-Stream; v=1' };
    expect((await upload('strict', sound, headers)).status).toBe(201);
  });

  it('from anybody but operators', async () => {
    const device = await test.enrolDevice();
    for (const headers of [device.headers, await test.operator('viewer'), await test.operator('releaser')]) {
      expect((await upload('strict', smallWeights(9), headers)).status).toBe(403);
    }
  });
});

describe('the current version', () => {
  it('is the head, and is revalidated by its tag', async () => {
    await createTestModel(test, operator, 'now');
    expect(await problemOf(await get('/v1/models/now/current'))).toEqual({ status: 404, code: 'no_version' });
    await upload('now', smallWeights(1));
    const device = await test.enrolDevice();
    const current = await get('/v1/models/now/current', device.headers);
    expect(current.headers.get('cache-control')).toBe('private, no-cache');
    expect(await current.json()).toMatchObject({ version: 1 });
    const tagged = { ...device.headers, 'if-none-match': current.headers.get('etag')! };
    expect((await get('/v1/models/now/current', tagged)).status).toBe(304);
    await upload('now', smallWeights(2));
    const next = await get('/v1/models/now/current', tagged);
    expect(next.status).toBe(200);
    expect(await next.json()).toMatchObject({ version: 2 });
  });

  it.each(['0', '-1', '1.5', 'x', '99999999999'])('version %s is not a number of one', async (version) => {
    expect(await problemOf(await get(`/v1/models/now/versions/${version}`))).toMatchObject({ status: 400 });
  });

  it('a version that is not there is not found', async () => {
    expect((await get('/v1/models/now/versions/2')).status).toBe(200);
    expect(await problemOf(await get('/v1/models/now/versions/3'))).toEqual({
      status: 404,
      code: 'not_found',
    });
  });
});
