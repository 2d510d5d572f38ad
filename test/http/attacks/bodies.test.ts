import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  type RequestHeaders,
  registrationOf,
  type TestApp,
} from '../../support/app.ts';
import { createDeviceKey } from '../../support/identity/device-keys.ts';

/* What callers put into bodies to get more than they may. */

let t: TestApp;
let operator: RequestHeaders;
let device: EnrolledDevice;

beforeAll(async () => {
  t = await createTestApp();
  operator = await t.operator();
  device = await t.enrolDevice();
});
afterAll(() => t?.close());

const send = (method: string, path: string, body: unknown, headers: object = operator) =>
  answerOf(t.app.request(path, jsonRequest(method, body, headers as Record<string, string>)));
const rowOf = async (id: string) => (await t.deps.db.client`select * from devices where id = ${id}`)[0]!;

describe('members that nobody may set (OWASP API3:2023, mass assignment)', () => {
  const stolen = {
    state: 'active',
    id: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44',
    federationId: 'other',
    federation: 'other',
    approvedAt: '2026-01-01T00:00:00.000Z',
    revokedAt: null,
    enrollmentTokenId: null,
    labels: { tier: 'gold' },
    role: 'operator',
    uses: 0,
    secretHash: 'a'.repeat(64),
  };

  it.each(Object.entries(stolen))('a device does not set its %s', async (name, value) => {
    const before = await rowOf(device.id);
    const body = { properties: {}, [name]: value };
    expect((await send('PATCH', '/v1/devices/me', body, device.headers)).status).toBe(400);
    const inside = { properties: { [name]: value } };
    expect((await send('PATCH', '/v1/devices/me', inside, device.headers)).status).toBe(400);
    expect(await rowOf(device.id)).toEqual(before);
  });

  it.each(Object.entries(stolen).filter(([name]) => name !== 'labels'))(
    'an operator does not set the %s of a device',
    async (name, value) => {
      const before = await rowOf(device.id);
      expect((await send('PATCH', `/v1/devices/${device.id}`, { [name]: value })).status).toBe(400);
      expect(await rowOf(device.id)).toEqual(before);
    },
  );

  it.each(Object.entries(stolen))('a registration does not bring its %s', async (name, value) => {
    const token = await t.enrollmentToken({ requiresApproval: true });
    const body = await registrationOf(t.deps, await createDeviceKey(), token);
    expect((await send('POST', '/v1/devices', { ...body, [name]: value }, {})).status).toBe(400);
  });

  it('a setting that is misspelt makes no enrolment token that is laxer than was meant', async () => {
    const body = { name: 'strict', requireApproval: true };
    expect(await send('POST', '/v1/enrollment-tokens', body)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
  });

  it('neither an enrolment token nor an operator key brings its own secret, uses or federation', async () => {
    for (const extra of [
      { token: 'fedenr_x' },
      { uses: -5 },
      { federationId: 'other' },
      { secretHash: 'x' },
    ]) {
      expect((await send('POST', '/v1/enrollment-tokens', { name: 'x', ...extra })).status).toBe(400);
      expect((await send('POST', '/v1/operator-keys', { name: 'x', role: 'viewer', ...extra })).status).toBe(
        400,
      );
    }
  });
});

describe('names that every object has (CWE-1321, prototype pollution)', () => {
  const raw = (method: string, path: string, body: string, headers: object = operator) =>
    answerOf(
      t.app.request(path, {
        method,
        body,
        headers: { 'content-type': 'application/json', ...(headers as Record<string, string>) },
      }),
    );

  it('are no labels, and change nobody', async () => {
    const body = '{"labels":{"__proto__":{"polluted":"yes"}}}';
    await raw('PATCH', `/v1/devices/${device.id}`, body);
    const nested = '{"__proto__":{"labels":{"polluted":"yes"}}}';
    await raw('PATCH', `/v1/devices/${device.id}`, nested);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect((await rowOf(device.id)).labels).toEqual({});
  });

  it('may be labels where they are plain words, and mean nothing', async () => {
    const labels = { constructor: 'x', toString: 'y', hasOwnProperty: 'z' };
    const answer = await send('PATCH', `/v1/devices/${device.id}`, { labels });
    expect(answer).toMatchObject({ status: 200, body: { labels } });
    expect((await send('PATCH', `/v1/devices/${device.id}`, { labels: {} })).status).toBe(200);
  });

  it('are no properties', async () => {
    const body = '{"properties":{"__proto__":{"memoryMb":1}}}';
    await raw('PATCH', '/v1/devices/me', body, device.headers);
    expect((await rowOf(device.id)).properties).toEqual({});
    const other = '{"properties":{"constructor":1}}';
    expect((await raw('PATCH', '/v1/devices/me', other, device.headers)).status).toBe(400);
  });
});

describe('text that others read', () => {
  it.each([
    ['a line break (CWE-117)', 'a\nlevel=50 msg="root logged in"'],
    ['a header (CWE-113)', 'a\r\nSet-Cookie: x=1'],
    ['an event (WHATWG HTML 9.2.6)', 'a\n\nevent: run.completed\ndata: {}'],
    ['an escape sequence (CWE-150)', '\u001b[2J'],
    ['a C1 control (CWE-150)', '\u009b31m'],
    ['half a surrogate (CWE-176)', '\ud800'],
  ])('holds no %s', async (_, text) => {
    expect((await send('PATCH', `/v1/devices/${device.id}`, { name: text })).status).toBe(400);
    expect((await send('PATCH', `/v1/devices/${device.id}`, { labels: { site: text } })).status).toBe(400);
    expect((await send('POST', '/v1/enrollment-tokens', { name: text })).status).toBe(400);
    expect((await send('POST', '/v1/operator-keys', { name: text, role: 'viewer' })).status).toBe(400);
    const software = { properties: { software: text } };
    expect((await send('PATCH', '/v1/devices/me', software, device.headers)).status).toBe(400);
  });

  it('is told back as it is, as JSON, never as HTML (CWE-79)', async () => {
    const name = '<script>alert(1)</script>';
    const response = await t.app.request(
      `/v1/devices/${device.id}`,
      jsonRequest('PATCH', { name }, operator),
    );
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(await answerOf(response)).toMatchObject({ status: 200, body: { name } });
  });
});

describe('bodies that are read into memory (CWE-400)', () => {
  const types = [
    'application/json',
    'Application/JSON',
    'application/x+json',
    'text/plain',
    'application/jsonx',
  ];

  it.each(types)('declare their length and are refused over the limit, as %s', async (type) => {
    for (const [path, headers] of [
      ['/v1/devices', {}],
      ['/v1/enrollment-tokens', operator],
      [`/v1/devices/${device.id}/approve`, { ...operator, 'idempotency-key': 'large' }],
    ] as const) {
      const ask = (more: Record<string, string>) =>
        answerOf(
          t.app.request(path, {
            method: 'POST',
            body: '{}',
            headers: { 'content-type': type, ...headers, ...more },
          }),
        );
      expect(await ask({ 'transfer-encoding': 'chunked' })).toMatchObject({ status: 411 });
      expect(await ask({ 'content-length': '100000000' })).toMatchObject({ status: 413 });
    }
  });

  it('end soon where a pattern could go on for ever (CWE-1333): 60 KiB of near misses', async () => {
    const nearly = [`${'a-'.repeat(30_000)}!`, `${'a'.repeat(60_000)}_`, ' '.repeat(60_000)];
    for (const text of nearly) {
      expect((await send('PATCH', `/v1/devices/${device.id}`, { labels: { [text]: 'x' } })).status).toBe(400);
      expect((await send('POST', '/v1/operator-keys', { name: text, role: 'viewer' })).status).toBe(400);
      const { status } = await answerOf(
        t.app.request(`/v1/events?types=${'a'.repeat(7000)}!`, { headers: operator }),
      );
      expect(status).toBe(400);
    }
  });
});
