import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../api/config.ts';
import { buildDocument, listOperations } from '../../../api/http/contract/document.ts';
import { createEntrance } from '../../../api/http/wire/entrance.ts';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { createDocumentApp } from '../../../scripts/document-app.ts';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { digestField, rawRequest, tensorFile } from '../../support/tensor-files.ts';

const APP = 'https://app.example.org';
let test: TestApp;
let server: Listening;
let operator: RequestHeaders;
beforeAll(async () => {
  test = await createTestApp({
    config: loadConfig({ FEDEDGE_CORS_ORIGINS: `${APP},http://localhost:3000` }),
  });
  server = await listen(test.app, { host: '127.0.0.1', port: 0 });
  operator = await test.operator();
  await createTestModel(test, operator, 'small', [smallWeights()]);
});
afterAll(async () => {
  await server.close(0);
  await test.close();
});

const security = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'strict-transport-security': 'max-age=31536000',
};
const headersOf = (response: Response) => Object.fromEntries(response.headers);

/** Over a connection: what the app hands over and what it writes by itself. */
async function ask(path: string, init: RequestInit = {}): Promise<Record<string, string>> {
  const response = await fetch(server.url + path, init);
  await response.body?.cancel();
  return { status: String(response.status), ...headersOf(response) };
}

describe('security headers', () => {
  const get = (path: string, headers: Record<string, string> = {}) => [path, { headers }] as const;
  it.each<[string, string, () => readonly [string, RequestInit?]]>([
    ['a public answer', '200', () => get('/livez')],
    ['a document', '200', () => get('/v1/models/small', operator)],
    ['a refusal', '401', () => get('/v1/models')],
    ['what is not there', '404', () => get('/nothing')],
    ['another method', '405', () => ['/v1/models', { method: 'PUT' }]],
    ['weights', '200', () => get('/v1/models/small/versions/1/weights', operator)],
    [
      'a part of them',
      '206',
      () => get('/v1/models/small/versions/1/weights', { ...operator, range: 'bytes=0-9' }),
    ],
    ['a stream', '200', () => get('/v1/events', operator)],
    ['the style sheet', '200', () => get('/docs/style.css')],
  ])('are on %s', async (_what, status, request) => {
    const headers = await ask(...request());
    expect(headers).toMatchObject({ status, ...security });
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
    expect(headers['x-request-id']).toBeDefined();
  });

  it.each(['/v1/models/small/current', '/v1/models/small/versions/1/weights'])(
    'are not said again of what the caller keeps (%s)',
    async (path) => {
      const headers = await ask(path, { headers: { ...operator, origin: APP, 'if-none-match': '*' } });
      const { 'strict-transport-security': ofHost, ...ofContent } = security;
      expect(headers).toMatchObject({
        status: '304',
        etag: expect.any(String),
        'x-request-id': expect.any(String),
        'strict-transport-security': ofHost,
        vary: expect.stringMatching(/origin/i),
        'access-control-allow-origin': APP,
        'access-control-expose-headers': expect.stringContaining('ETag'),
      });
      for (const name of [...Object.keys(ofContent), 'content-security-policy'])
        expect(headers).not.toHaveProperty([name]);
    },
  );

  it('are on a file that is written straight to the connection', async () => {
    const large = tensorFile([{ name: 'w', shape: [2_500_000] }]);
    const manifest = { tensors: [{ name: 'w', shape: [2_500_000] }] };
    await test.app.request('/v1/models', jsonRequest('POST', { name: 'large', manifest }, operator));
    await fetch(`${server.url}/v1/models/large/versions`, rawRequest('POST', large, operator));
    const headers = await ask('/v1/models/large/versions/1/weights', { headers: operator });
    expect(headers).toMatchObject({ ...security, 'content-length': String(large.length) });
    expect(headers['cache-control']).toContain('immutable');
  });

  it('are on an answer that is given again', async () => {
    const body = { name: 'again', manifest: { tensors: [{ name: 'w', shape: [1] }] } };
    const init = jsonRequest('POST', body, { ...operator, 'idempotency-key': 'again' });
    await ask('/v1/models', init);
    expect(await ask('/v1/models', init)).toMatchObject({ 'idempotent-replayed': 'true', ...security });
  });

  it('are on what a server says that is not ready yet, without a word of TLS', async () => {
    const { 'strict-transport-security': _, ...plain } = security;
    const headers = headersOf(await createEntrance().fetch(new Request('http://localhost/readyz')));
    expect(headers).toMatchObject({ ...plain, 'retry-after': '1' });
    expect(headers['strict-transport-security']).toBeUndefined();
  });

  it('let pages of the documentation have their style, and nothing else', async () => {
    const headers = await ask('/docs');
    expect(headers['content-security-policy']).toContain("default-src 'none'; style-src 'self'");
    expect(headers['content-security-policy']).not.toContain('script-src');
  });

  it('keep what is for one caller out of every cache', async () => {
    expect((await ask('/v1/models/small', { headers: operator }))['cache-control']).toBe('no-store');
    expect((await ask('/v1/models/nothing', { headers: operator }))['cache-control']).toBe('no-store');
    const headers = (await test.enrolDevice()).headers;
    expect((await ask('/v1/assignment', { headers }))['cache-control']).toBe('no-store');
    const weights = await ask('/v1/models/small/versions/1/weights', { headers: operator });
    expect(weights['cache-control']).toMatch(/^private/);
  });
});

describe('CORS', () => {
  const preflight = (origin: string, method: string, path = '/v1/models') =>
    test.app.request(path, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': method,
        'access-control-request-headers': 'authorization,content-digest,content-type',
      },
    });
  const listed = (response: Response, header: string) =>
    (response.headers.get(header) ?? '').toLowerCase().split(', ');

  it('answers the preflight of an update, without credentials', async () => {
    const path = '/v1/assignments/0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44/update';
    const answer = await preflight(APP, 'PUT', path);
    expect(answer.status).toBe(204);
    expect(headersOf(answer)).toMatchObject({ 'access-control-allow-origin': APP, vary: 'Origin' });
    expect(listed(answer, 'access-control-allow-methods')).toContain('put');
    const headers = listed(answer, 'access-control-allow-headers');
    expect(headers).toEqual(expect.arrayContaining(['authorization', 'content-digest', 'content-type']));
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
  });

  it('allows every method and every header that the contract has', async () => {
    const answer = await preflight(APP, 'POST');
    const methods = listed(answer, 'access-control-allow-methods');
    const headers = listed(answer, 'access-control-allow-headers');
    for (const { method, operation } of listOperations(buildDocument(createDocumentApp()))) {
      expect(methods).toContain(method);
      const read = (operation.parameters ?? []).filter((parameter) => parameter.in === 'header');
      for (const { name } of read) expect(headers).toContain(name.toLowerCase());
    }
  });

  it('lets the page read the answer, a refusal too, and what it says in headers', async () => {
    for (const headers of [{ ...operator, origin: APP }, { origin: APP }]) {
      const answer = await test.app.request('/v1/models/small/current', { headers });
      expect(headersOf(answer)).toMatchObject({ 'access-control-allow-origin': APP, vary: 'Origin' });
      const exposed = listed(answer, 'access-control-expose-headers');
      expect(exposed).toEqual(expect.arrayContaining(['etag', 'retry-after', 'location', 'upload-offset']));
    }
  });

  it('knows several origins, each by its own name', async () => {
    const answer = await test.app.request('/livez', { headers: { origin: 'http://localhost:3000' } });
    expect(answer.headers.get('access-control-allow-origin')).toBe('http://localhost:3000');
  });

  it.each([
    'https://evil.example',
    `${APP}.evil.example`,
    'https://app.example.org:8443',
    'null',
    'http://app.example.org',
  ])('says nothing to %s', async (origin) => {
    const asked = await preflight(origin, 'PUT');
    expect(asked.status).toBe(405);
    const answer = await test.app.request('/livez', { headers: { origin } });
    for (const { headers } of [asked, answer]) {
      expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
      expect(headers.get('vary')).toBe('Origin');
    }
  });

  it('is off unless it is asked for', async () => {
    const { app } = await test.replica();
    const off = await createTestApp();
    const headers = { origin: APP };
    expect((await app.request('/livez', { headers })).headers.get('access-control-allow-origin')).toBe(APP);
    const answer = await off.app.request('/livez', { headers });
    expect(answer.headers.get('access-control-allow-origin')).toBeNull();
    expect(answer.headers.get('vary')).toBeNull();
    await off.close();
  });
});

it('a body sent across origins is taken', async () => {
  const file = smallWeights(2);
  const answer = await fetch(`${server.url}/v1/models/small/versions`, {
    method: 'POST',
    headers: {
      ...operator,
      origin: APP,
      'content-type': 'application/octet-stream',
      'content-digest': digestField(file),
    },
    body: new Uint8Array(file),
  });
  expect(answer.status).toBe(201);
  expect(answer.headers.get('access-control-allow-origin')).toBe(APP);
});
