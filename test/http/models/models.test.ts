import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { problemOf, smallManifest } from '../../support/models.ts';

let test: TestApp;
let operator: RequestHeaders;
beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
});
afterAll(() => test.close());

const create = (body: unknown, headers: Record<string, string> = operator) =>
  test.app.request('/v1/models', jsonRequest('POST', body, headers));
const get = (path: string, headers: RequestHeaders = operator) => test.app.request(path, { headers });

describe('creating a model', () => {
  it('answers the model as it can be read afterwards, and writes audit and event', async () => {
    const created = await create({ name: 'first', description: 'digits', manifest: smallManifest });
    expect(created.status).toBe(201);
    const model = await created.json();
    expect(model).toMatchObject({
      name: 'first',
      description: 'digits',
      parameters: 8,
      head: null,
      evaluationSet: null,
      manifest: { tensors: [{ name: 'w', shape: [3, 2], dtype: 'F32', role: 'trainable' }, { name: 'b' }] },
    });
    expect(await (await get('/v1/models/first')).json()).toEqual(model);
  });

  it('keeps an architecture as it is', async () => {
    const architecture = {
      format: 'tfjs-layers',
      topology: {
        class_name: 'Sequential',
        config: {
          name: 'mlp',
          layers: [
            {
              class_name: 'Dense',
              config: { name: 'b', units: 2, batch_input_shape: [null, 3], activation: 'relu' },
            },
          ],
        },
      },
    };
    expect((await create({ name: 'built', manifest: { ...smallManifest, architecture } })).status).toBe(201);
    const { manifest } = (await (await get('/v1/models/built')).json()) as { manifest: unknown };
    expect(manifest).toMatchObject({ architecture });
  });

  it('leaves out local tensors when it counts', async () => {
    const tensors = [...smallManifest.tensors, { name: 'mine', shape: [100], role: 'local' }];
    expect(await (await create({ name: 'personal', manifest: { tensors } })).json()).toMatchObject({
      parameters: 8,
    });
  });

  it('refuses a taken name, without effect', async () => {
    await create({ name: 'taken', manifest: smallManifest });
    expect(await problemOf(await create({ name: 'taken', manifest: smallManifest }))).toEqual({
      status: 409,
      code: 'name_taken',
    });
  });

  it('has one effect for eight requests with one key', async () => {
    const headers = { ...operator, 'idempotency-key': 'models-1' };
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => create({ name: 'once', manifest: smallManifest }, headers)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(201));
    expect(new Set(await Promise.all(answers.map((answer) => answer.text()))).size).toBe(1);
  });

  const lambda = {
    class_name: 'Sequential',
    config: { name: 'm', layers: [{ class_name: 'Lambda', config: { name: 'l' } }] },
  };
  const manifestWith = (tensor: Record<string, unknown>) => ({
    tensors: [{ name: 'w', shape: [2], ...tensor }],
  });
  it.each<[string, unknown, number, string]>([
    ['a name with capitals', { name: 'Big', manifest: smallManifest }, 400, 'invalid_request'],
    ['a name that is a path', { name: '../x', manifest: smallManifest }, 400, 'invalid_request'],
    [
      'a description with NUL',
      { name: 'nul', description: 'a\0b', manifest: smallManifest },
      400,
      'invalid_request',
    ],
    ['no tensors', { name: 'none', manifest: { tensors: [] } }, 400, 'invalid_request'],
    ['another dtype', { name: 'f16', manifest: manifestWith({ dtype: 'F16' }) }, 400, 'invalid_request'],
    ['a negative size', { name: 'neg', manifest: manifestWith({ shape: [-1] }) }, 400, 'invalid_request'],
    ['a fraction', { name: 'half', manifest: manifestWith({ shape: [1.5] }) }, 400, 'invalid_request'],
    [
      'a name twice',
      {
        name: 'twice',
        manifest: {
          tensors: [
            { name: 'w', shape: [1] },
            { name: 'w', shape: [1] },
          ],
        },
      },
      422,
      'invalid_manifest',
    ],
    [
      'an axis too many',
      { name: 'axis', manifest: manifestWith({ channelAxis: 1 }) },
      422,
      'invalid_manifest',
    ],
    [
      'too many parameters',
      { name: 'huge', manifest: manifestWith({ shape: [2e9] }) },
      422,
      'invalid_manifest',
    ],
    [
      'a tensor name that is no text',
      { name: 'surrogate', manifest: manifestWith({ name: '\ud800' }) },
      422,
      'invalid_manifest',
    ],
    [
      'nothing that travels',
      { name: 'local', manifest: manifestWith({ role: 'local' }) },
      422,
      'invalid_manifest',
    ],
    [
      'a layer that carries code',
      {
        name: 'code',
        manifest: { ...smallManifest, architecture: { format: 'tfjs-layers', topology: lambda } },
      },
      422,
      'architecture_refused',
    ],
    [
      'another format',
      { name: 'pickle', manifest: { ...smallManifest, architecture: { format: 'pickle', topology: {} } } },
      400,
      'invalid_request',
    ],
  ])('refuses %s', async (_what, body, status, code) => {
    expect(await problemOf(await create(body))).toMatchObject({ status, code });
  });

  it('refuses a bottomless topology', async () => {
    const depth = 100_000;
    const topology = `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
    const body = `{"name":"deep","manifest":{"tensors":[{"name":"w","shape":[2]}],"architecture":{"format":"tfjs-layers","topology":${topology}}}}`;
    const headers = { ...operator, 'content-type': 'application/json' };
    const answer = await test.app.request('/v1/models', { method: 'POST', body, headers });
    expect(await problemOf(answer)).toMatchObject({ status: 422, code: 'architecture_refused' });
  });

  it('refuses a body over the limit by its declared length', async () => {
    const huge = { ...operator, 'content-length': String(5 << 20) };
    expect(await problemOf(await create({ name: 'long', manifest: smallManifest }, huge))).toMatchObject({
      status: 413,
      code: 'too_large',
    });
  });
});

describe('who may do what', () => {
  it('lets members read and operators create', async () => {
    await create({ name: 'shared', manifest: smallManifest });
    const device = await test.enrolDevice();
    for (const headers of [device.headers, await test.operator('viewer'), await test.operator('releaser')]) {
      expect((await get('/v1/models/shared', headers)).status).toBe(200);
      expect((await get('/v1/models', headers)).status).toBe(200);
      expect((await create({ name: 'mine', manifest: smallManifest }, headers)).status).toBe(403);
    }
    expect((await test.app.request('/v1/models/shared')).status).toBe(401);
  });

  it('does not tell an unknown model from nothing', async () => {
    expect(await problemOf(await get('/v1/models/unknown'))).toEqual({ status: 404, code: 'not_found' });
  });
});

it('lists the models page by page, in both orders', async () => {
  for (const name of ['p1', 'p2', 'p3']) await create({ name, manifest: smallManifest });
  const read = async (order: string) => {
    const names: string[] = [];
    for (let cursor = ''; ; ) {
      const page = (await (await get(`/v1/models?limit=2&order=${order}${cursor}`)).json()) as {
        items: { name: string; manifest?: unknown }[];
        nextCursor?: string;
      };
      expect(page.items.length).toBeLessThanOrEqual(2);
      expect(page.items.every(({ manifest }) => manifest === undefined)).toBe(true);
      names.push(...page.items.map(({ name }) => name));
      if (!page.nextCursor) return names;
      cursor = `&cursor=${page.nextCursor}`;
    }
  };
  const oldest = await read('oldest');
  expect(oldest).toEqual(expect.arrayContaining(['p1', 'p2', 'p3']));
  expect(new Set(oldest).size).toBe(oldest.length);
  expect(await read('newest')).toEqual(oldest.toReversed());
});
