import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  type RequestHeaders,
  type TestApp,
} from '../../support/app.ts';
import { createTestCatalog, createVersions } from '../../support/releases.ts';

let test: TestApp;
let catalog: ReturnType<typeof createTestCatalog>;
let device: EnrolledDevice;
let viewer: RequestHeaders;
let releaser: RequestHeaders;
let digests: string[];
beforeAll(async () => {
  test = await createTestApp();
  catalog = createTestCatalog(test);
  device = await test.enrolDevice({ token: { labels: { site: 'lab' } } });
  viewer = await test.operator('viewer');
  releaser = await test.operator('releaser');
  digests = await createVersions(test, 'mnist', 2);
  catalog.set('models/mnist.yaml', document);
  await catalog.reconcile();
});
afterAll(() => test?.close());

const document = {
  model: 'mnist',
  version: 2,
  get digest() {
    return digests[2];
  },
  previous: 1,
  salt: 'mnist-2026',
  cohorts: [
    { name: 'canary', labels: { site: ['lab'] }, percent: [100] },
    { name: 'everyone', percent: [0, 25, 100] },
  ],
  gate: { metric: 'accuracy', atLeast: 0.9, reports: 2 },
  bakeSeconds: 600,
};
const get = (path: string, headers = viewer) => answerOf(test.app.request(path, { headers }));
const post = (path: string, body: unknown, headers: RequestHeaders) =>
  answerOf(test.app.request(path, jsonRequest('POST', body, headers)));
const list = async (query = '') => {
  const { body } = await get(`/v1/releases${query}`);
  return body as { items: { id: string; model: string; state: string }[]; nextCursor?: string };
};

it('a release is told whole', async () => {
  const report = { numExamples: 100, metrics: { accuracy: 0.95, loss: 0.1 } };
  expect(await post('/v1/models/mnist/versions/2/reports', report, device.headers)).toEqual({
    status: 200,
    body: { model: 'mnist', version: 2, receivedAt: test.clock.now().toISOString() },
  });
  const [{ id } = { id: '' }] = (await list('?model=mnist')).items;
  expect(await get(`/v1/releases/${id}`)).toEqual({
    status: 200,
    body: {
      id,
      model: 'mnist',
      contentHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      state: 'rolling',
      reason: null,
      step: 0,
      steps: 3,
      stepSince: test.clock.now().toISOString(),
      bakeSeconds: 600,
      version: 2,
      digest: digests[2]!.slice('sha-256:'.length),
      channel: null,
      source: null,
      previous: 1,
      salt: 'mnist-2026',
      cohorts: [
        { name: 'canary', labels: { site: ['lab'] }, percent: [100] },
        { name: 'everyone', labels: {}, percent: [0, 25, 100] },
      ],
      gate: {
        metric: 'accuracy',
        atLeast: 0.9,
        atMost: null,
        reportsNeeded: 2,
        reports: 1,
        value: 0.95,
        holds: false,
      },
      createdAt: test.clock.now().toISOString(),
      activatedAt: test.clock.now().toISOString(),
    },
  });
});

describe('the list', () => {
  it('is read page by page, oldest or newest first, of all models or one', async () => {
    for (const model of ['a', 'b', 'c']) {
      catalog.set(`models/${model}.yaml`, { model, channel: 'head' });
      await catalog.reconcile();
    }
    const first = await list('?limit=2');
    expect(first.items.map(({ model }) => model)).toEqual(['mnist', 'a']);
    const second = await list(`?limit=2&cursor=${first.nextCursor}`);
    expect(second.items.map(({ model }) => model)).toEqual(['b', 'c']);
    expect(second.nextCursor).toBeUndefined();
    expect((await list('?order=newest&limit=1')).items).toMatchObject([{ model: 'c', state: 'waiting' }]);
    expect((await list('?model=b')).items).toMatchObject([
      { model: 'b', channel: 'head', version: null, digest: null },
    ]);
  });
});

describe('current', () => {
  it('is what the release says, the same for the ETag, and what may be downloaded', async () => {
    const answer = await test.app.request('/v1/models/mnist/current', { headers: device.headers });
    expect(await answer.json()).toMatchObject({ version: 2 });
    expect(answer.headers.get('cache-control')).toBe('private, no-cache');
    const headers = { ...device.headers, 'if-none-match': answer.headers.get('etag')! };
    expect((await test.app.request('/v1/models/mnist/current', { headers })).status).toBe(304);
    const weights = (version: number) => `/v1/models/mnist/versions/${version}/weights`;
    const statuses = await Promise.all(
      [1, 2].map(async (version) => (await test.app.request(weights(version), device)).status),
    );
    expect(statuses).toEqual([404, 200]);
  });

  it('is the settled version for an operator', async () => {
    expect((await get('/v1/models/mnist/current')).body).toMatchObject({ version: 1 });
  });

  it('is the head without a release, and nothing where the release says so', async () => {
    await createVersions(test, 'free', 2);
    expect((await get('/v1/models/free/current', device.headers)).body).toMatchObject({ version: 2 });
    const digest = `sha-256:${'0'.repeat(64)}`;
    catalog.set('models/free.yaml', { model: 'free', version: 3, digest });
    await catalog.reconcile();
    expect(await get('/v1/models/free/current', device.headers)).toMatchObject({
      status: 404,
      body: { code: 'no_release' },
    });
  });
});

describe('a report', () => {
  const report = { numExamples: 1, metrics: { accuracy: 1 } };

  it.each([
    ['another version', '/v1/models/mnist/versions/1/reports', report, 404],
    ['no version', '/v1/models/mnist/versions/9/reports', report, 404],
    ['no model', '/v1/models/none/versions/1/reports', report, 404],
    ['no examples', '/v1/models/mnist/versions/2/reports', { ...report, numExamples: 0 }, 400],
    [
      'a metric that is no number',
      '/v1/models/mnist/versions/2/reports',
      { ...report, metrics: { a: 'x' } },
      400,
    ],
    [
      'too many metrics',
      '/v1/models/mnist/versions/2/reports',
      { ...report, metrics: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`m${i}`, i])) },
      400,
    ],
  ])('about %s is refused', async (_name, path, body, status) => {
    expect(await post(path, body, device.headers)).toMatchObject({ status });
  });
});

it('the catalog tells its faults', async () => {
  expect(await get('/v1/catalog')).toEqual({
    status: 200,
    body: { readAt: test.clock.now().toISOString(), faults: [], waiting: [] },
  });
  catalog.set('models/broken.yaml', { model: 'broken', channel: 'head', salts: 'x' });
  await catalog.reconcile();
  expect((await get('/v1/catalog')).body).toEqual({
    readAt: test.clock.now().toISOString(),
    faults: [{ file: 'models/broken.yaml', message: expect.stringContaining('salts') }],
    waiting: [],
  });
});

it('a releaser halts a release, once and for all', async () => {
  const [{ id } = { id: '' }] = (await list('?model=mnist')).items;
  const halt = (headers: RequestHeaders) => post(`/v1/releases/${id}/halt`, {}, headers);
  expect(await halt(await test.operator('operator'))).toMatchObject({ status: 403 });
  const halted = await halt(releaser);
  expect(halted).toMatchObject({ status: 200, body: { state: 'halted', reason: 'halted' } });
  expect(await halt(releaser)).toEqual(halted);
  expect((await get('/v1/models/mnist/current', device.headers)).body).toMatchObject({ version: 1 });
  catalog.set('models/mnist.yaml', undefined);
  await catalog.reconcile();
  expect(await halt(releaser)).toMatchObject({
    status: 409,
    body: { code: 'conflict', state: 'superseded' },
  });
});

it('the tag of the current version is another one when another release comes to the same version', async () => {
  const [, digest] = await createVersions(test, 'tagged', 1);
  const release = { model: 'tagged', version: 1, digest };
  const tagAfter = async (content: object) => {
    catalog.set('models/tagged.yaml', content);
    await catalog.reconcile();
    const { headers } = await test.app.request('/v1/models/tagged/current', { headers: device.headers });
    return headers.get('etag');
  };
  const first = await tagAfter(release);
  expect(await tagAfter(release)).toBe(first);
  expect(await tagAfter({ ...release, salt: 'another' })).not.toBe(first);
});
