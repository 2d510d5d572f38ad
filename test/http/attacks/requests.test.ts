import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { createTestApp, type EnrolledDevice, type TestApp } from '../../support/app.ts';
import { openRaw, requestHead } from '../../support/raw-http.ts';

/* How credentials reach the server, over a real connection: what clients and proxies make of headers counts too. */

let t: TestApp;
let server: Listening;
let device: EnrolledDevice;
let operator: string;
let token: string;

beforeAll(async () => {
  t = await createTestApp();
  server = await listen(t.app, { host: '127.0.0.1', port: 0 });
  device = await t.enrolDevice();
  operator = (await t.operator()).authorization;
  token = device.headers.authorization.slice('Bearer '.length);
});
afterAll(async () => {
  await server?.close(0);
  await t?.close();
});

/** The status of GET `path` with these lines as its headers, exactly as they are. */
async function statusOf(lines: string[], path = '/v1/devices/me', method = 'GET'): Promise<number> {
  const connection = openRaw(server.port);
  connection.send(requestHead(method, path, { connection: 'close' }).replace('\r\n\r\n', '\r\n'));
  connection.send(`${lines.map((line) => `${line}\r\n`).join('')}\r\n`);
  const answer = await connection.ended();
  return Number(answer.match(/^HTTP\/1\.1 (\d{3})/)?.[1]);
}

describe('credentials', () => {
  it('are taken from one Authorization header, whatever the case of its name and scheme (RFC 9110 11.1)', async () => {
    expect(await statusOf([`Authorization: Bearer ${token}`])).toBe(200);
    expect(await statusOf([`authorization: bearer ${token}`])).toBe(200);
    expect(await statusOf([`AUTHORIZATION: BEARER ${token}`])).toBe(200);
  });

  it.each<[string, () => string[]]>([
    [
      'two Authorization headers (RFC 9110 5.3)',
      () => [`Authorization: Bearer ${token}`, `Authorization: ${operator}`],
    ],
    [
      'the same one twice (RFC 9110 5.3)',
      () => [`Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`],
    ],
    [
      'an empty one before a good one (RFC 9110 5.3)',
      () => ['Authorization:', `Authorization: Bearer ${token}`],
    ],
    ['two tokens in one header (RFC 6750 2.1)', () => [`Authorization: Bearer ${token}, Bearer ${token}`]],
    ['Basic (RFC 7617 2)', () => [`Authorization: Basic ${Buffer.from(`x:${token}`).toString('base64')}`]],
    ['Basic with the token as it is (RFC 7617 2)', () => [`Authorization: Basic ${token}`]],
    ['DPoP without a proof (RFC 9449 7.1)', () => [`Authorization: DPoP ${token}`]],
    ['no scheme (RFC 9110 11.4)', () => [`Authorization: ${token}`]],
    ['a tab after the scheme (RFC 9110 11.4)', () => [`Authorization: Bearer\t${token}`]],
    ['quotes (RFC 6750 2.1)', () => [`Authorization: Bearer "${token}"`]],
    ['a parameter (RFC 6750 2.1)', () => [`Authorization: Bearer token=${token}`]],
    ['a cookie (RFC 6750 2)', () => [`Cookie: access_token=${token}; authorization=Bearer ${token}`]],
    ['Proxy-Authorization (RFC 9110 11.7.1)', () => [`Proxy-Authorization: Bearer ${token}`]],
    ['X-Forwarded-Authorization (CWE-290)', () => [`X-Forwarded-Authorization: Bearer ${token}`]],
    [
      'who it says it is, as a proxy would (CWE-290)',
      () => [`X-Forwarded-User: ${device.id}`, 'X-Client-Verify: SUCCESS'],
    ],
    ['nothing (RFC 6750 3.1)', () => []],
  ])('are refused as %s', async (_, lines) => {
    expect(await statusOf(lines())).toBe(401);
  });

  it.each(['access_token', 'token', 'authorization', 'Authorization', 'bearer'])(
    'are refused in the query as %s (RFC 6750 5.3)',
    async (name) => {
      expect(await statusOf([], `/v1/devices/me?${name}=${token}`)).toBe(401);
      expect(await statusOf([], `/v1/devices/me?${name}=Bearer%20${token}`)).toBe(401);
    },
  );

  it('are refused in the body (RFC 6750 2.2)', async () => {
    const response = await fetch(`${server.url}/v1/devices/me/key`, {
      method: 'POST',
      body: new URLSearchParams({ access_token: token }),
    });
    expect(response.status).toBe(401);
    await response.body?.cancel();
  });

  it('with a header that is folded over two lines close the connection (RFC 9112 5.2)', async () => {
    expect(await statusOf(['Authorization: Bearer', ` ${token}`])).toBe(400);
  });

  it('with a space before the colon are refused (RFC 9112 5.1)', async () => {
    expect(await statusOf([`Authorization : Bearer ${token}`])).toBe(400);
  });

  it('over 8 KiB are refused with the head that they are in (CWE-400)', async () => {
    expect(await statusOf([`Authorization: Bearer ${'x'.repeat(9000)}`])).toBe(431);
  });
});

describe('where a request goes', () => {
  it.each([
    '/v1/devices/me/',
    '//v1/devices/me',
    '/V1/DEVICES/ME',
    '/v1/devices/me;x',
    '/v1/devices/me%00',
    '/v1/devices/me%2f',
  ])('is not guessed from %s (CWE-436)', async (path) =>
    expect(await statusOf([`Authorization: Bearer ${token}`], path)).not.toBe(200),
  );

  it.each([
    '/v1/models/../devices',
    '/v1/assignment/%2e%2e/devices',
    '/livez/../v1/devices',
    '/docs/%2e%2e/v1/devices',
  ])('is not walked up from %s without credentials (CWE-22)', async (path) =>
    expect([401, 404]).toContain(await statusOf([], path)),
  );

  it.each([
    'X-HTTP-Method-Override: GET',
    'X-Method-Override: GET',
    'X-Original-URL: /livez',
    'X-Rewrite-URL: /livez',
  ])('is not changed by %s (CWE-650)', async (line) =>
    expect(await statusOf([line], '/v1/devices')).toBe(401),
  );

  it('takes the policy of its method: HEAD and OPTIONS open nothing that GET does not (CWE-650)', async () => {
    expect(await statusOf([], '/v1/devices', 'HEAD')).toBe(401);
    expect([401, 404, 405]).toContain(await statusOf([], '/v1/devices', 'OPTIONS'));
    expect([401, 404, 405, 501]).toContain(await statusOf([], '/v1/devices', 'TRACE'));
  });
});
