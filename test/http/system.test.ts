import { afterAll, beforeAll, expect, it } from 'vitest';
import { createApp } from '../../api/http/app.ts';
import { openDatabase } from '../../api/store/database.ts';
import { createTestApp, type TestApp } from '../support/app.ts';

let test: TestApp;
beforeAll(async () => {
  test = await createTestApp();
});
afterAll(() => test?.close());

it('is alive', async () => {
  const response = await test.app.request('/livez');
  expect([response.status, await response.json()]).toEqual([200, { status: 'alive' }]);
});

it('is ready when the database, its schema and the blobs are', async () => {
  const response = await test.app.request('/readyz');
  expect([response.status, await response.json()]).toEqual([
    200,
    { status: 'ready', checks: { database: 'ok', schema: 'ok', blobs: 'ok' } },
  ]);
});

it('names the parts that do not answer, and asks anew after a second', async () => {
  let broken = true;
  const blobs = {
    ...test.deps.blobs,
    check: async () => (broken ? Promise.reject(new Error('disk')) : undefined),
  };
  const app = createApp({ ...test.deps, blobs });
  const response = await app.request('/readyz');
  expect(response.status).toBe(503);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(await response.json()).toMatchObject({
    code: 'unavailable',
    checks: { database: 'ok', schema: 'ok', blobs: 'failed' },
  });
  broken = false;
  expect((await app.request('/readyz')).status).toBe(503);
  test.clock.advance(1000);
  expect((await app.request('/readyz')).status).toBe(200);
});

it('does not wait for a part that hangs', async () => {
  const blobs = { ...test.deps.blobs, check: () => new Promise<void>(() => undefined) };
  const response = await createApp({ ...test.deps, blobs }).request('/readyz');
  expect([response.status, await response.json()]).toMatchObject([503, { checks: { blobs: 'timeout' } }]);
});

it('is not ready without its database', async () => {
  const db = openDatabase('postgres://nobody@127.0.0.1:1/none', { connections: 3 });
  const response = await createApp({ ...test.deps, db }).request('/readyz');
  await db.close();
  expect([response.status, await response.json()]).toMatchObject([
    503,
    { checks: { database: 'failed', schema: 'failed', blobs: 'ok' } },
  ]);
});

it('is not ready while it shuts down', async () => {
  const app = createApp({ ...test.deps, stopping: AbortSignal.abort() });
  const response = await app.request('/readyz');
  expect([response.status, await response.json()]).toMatchObject([503, { code: 'shutting_down' }]);
});

it('serves its contract', async () => {
  const response = await test.app.request('/openapi.json');
  expect(await response.json()).toMatchObject({ openapi: '3.1.0', info: { title: 'FedEdge' } });
});

it.each([
  ['DELETE', '/v1/runs', 'GET, HEAD, POST'],
  ['PUT', '/v1/rounds/0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44', 'GET, HEAD'],
  ['GET', '/v1/runs/0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44/stop', 'POST'],
])('refuses %s %s and names what it takes', async (method, path, allow) => {
  const response = await test.app.request(path, { method });
  expect([response.status, response.headers.get('allow')]).toEqual([405, allow]);
  expect(await response.json()).toMatchObject({ code: 'method_not_allowed' });
});

it.each(['/v1/nothing', '/v1/runs/', '/v1//runs', '/'])('has nothing at %s', async (path) => {
  const response = await test.app.request(path);
  expect([response.status, await response.json()]).toMatchObject([404, { code: 'not_found' }]);
});
