import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { createTestApp, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createObjects, type ObjectIds } from '../../support/objects.ts';
import { openRaw } from '../../support/raw-http.ts';

let test: TestApp;
let server: Listening;
let operator: RequestHeaders;
let device: RequestHeaders;
let known: ObjectIds;
beforeAll(async () => {
  test = await createTestApp();
  server = await listen(test.app, { host: '127.0.0.1', port: 0 }, { stalledMs: 500, headMs: 500 });
  operator = await test.operator();
  const enrolled = await test.enrolDevice();
  device = enrolled.headers;
  known = await createObjects(test.deps, 'default', { deviceId: enrolled.id });
});
afterAll(async () => {
  await server.close(0);
  await test.close();
});

/** The status of the answer to these bytes; 0: the connection ended without one. */
async function statusOf(bytes: string | Uint8Array): Promise<number> {
  const connection = openRaw(server.port);
  connection.send(bytes);
  const answer = await connection.until(/\r\n\r\n/).catch(() => connection.ended());
  connection.socket.destroy();
  return Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1] ?? 0);
}

/** A request line and headers, written as they are. */
function requestOf(line: string, headers: readonly string[], body: string | Uint8Array = ''): Uint8Array {
  const bytes = Buffer.from(body);
  const length = bytes.length > 0 ? [`content-length: ${bytes.length}`] : [];
  const head = [line, 'host: localhost', 'connection: close', ...headers, ...length].join('\r\n');
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`, 'latin1'), bytes]);
}

const asOperator = () => `authorization: ${operator.authorization}`;
const asDevice = () => `authorization: ${device.authorization}`;
const JSON_TYPE = 'content-type: application/json';
const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth);

describe('a path', () => {
  it.each([
    '/v1/models/%00',
    '/v1/models/%zz',
    '/v1/models/%',
    '/v1/models/%ED%A0%80',
    '/v1/models/%FF%FE',
    '/v1/models/..%2f..%2fetc%2fpasswd',
    '/v1/models/../../etc/passwd',
    '/v1/models/a%2Fversions',
    '/v1/models/\u00e4',
    '/v1/models//versions',
    '/v1/models/a;b=c',
    '/v1/models/__proto__',
    '/v1/models/constructor/versions',
    '/v1/models/x/versions/99999999999999999999',
    '/v1/models/x/versions/-1',
    '/v1/models/x/versions/1e3',
    '/v1/models/x/versions/0x1',
    '/v1/runs/00000000-0000-0000-0000-000000000000%00',
    '/v1/rounds/null',
    `/v1/models/${'x'.repeat(7000)}`,
    '//v1/models',
    'http://evil.example/v1/models',
    'http://[::1/v1/models',
    '/v1/models?limit=1&limit=2',
    '/v1/models?limit=NaN',
    '/v1/models?limit=1e309',
    '/v1/models?limit=%00',
    '/v1/models?cursor=%00',
    '/v1/models?cursor=%ED%A0%80',
    '/v1/models?cursor[]=x&cursor[__proto__]=y',
    '/v1/events?after=99999999999999999999',
    '/v1/audit?limit=-0',
    '/v1/models?%',
  ])('%s is refused, or answered', async (path) => {
    const status = await statusOf(requestOf(`GET ${path} HTTP/1.1`, [asOperator()]));
    expect(status).toBeGreaterThanOrEqual(200);
    expect(status).toBeLessThan(500);
  });
});

describe('JSON', () => {
  const bodies: Record<string, string | Uint8Array> = {
    'that is empty': ' ',
    'with NUL': '{"name":"a\\u0000b"}',
    'with half a surrogate': '{"name":"\\ud800"}',
    'with half a surrogate in a key': '{"properties":{"\\udfff":"x"}}',
    'with NUL in a key and a value': '{"properties":{"a\\u0000":"b\\u0000"}}',
    'that is no UTF-8': Buffer.from([0x7b, 0x22, 0x6e, 0x22, 0x3a, 0x22, 0xff, 0xfe, 0x22, 0x7d]),
    'with a byte order mark': '\ufeff{"name":"a"}',
    'as deep as it gets, of lists': nested('[', ']', 30_000),
    'as deep as it gets, of objects': `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
    'deep below properties': `{"properties":${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}}`,
    'deep below labels': `{"labels":${nested('[', ']', 9000)}}`,
    'with a number without an end': `{"name":"a","maxUses":${'9'.repeat(5000)}}`,
    'with infinity': '{"properties":{"a":1e999}}',
    'with __proto__': '{"__proto__":{"admin":true},"name":"a"}',
    'with __proto__ below': '{"properties":{"__proto__":{"a":1}},"labels":{"__proto__":"x"}}',
    'with constructor': '{"constructor":{"prototype":{"a":1}}}',
    'with a name twice': '{"name":"a","name":"b"}',
    'that is a string': '"a"',
    'that is null': 'null',
    'that is a list': '[{}]',
    'that ends early': '{"name":"a"',
    'with thousands of members': `{${Array.from({ length: 5000 }, (_, i) => `"k${i}":1`).join()}}`,
  };
  const targets: [string, string, () => string][] = [
    ['POST', '/v1/models', asOperator],
    ['POST', '/v1/runs', asOperator],
    ['POST', '/v1/enrollment-tokens', asOperator],
    ['POST', '/v1/operator-keys', asOperator],
    ['PATCH', '/v1/devices/DEVICE', asOperator],
    ['POST', '/v1/devices', asOperator],
    ['PATCH', '/v1/devices/me', asDevice],
    ['POST', '/v1/devices/me/key', asDevice],
    ['PUT', '/v1/assignments/ASSIGNMENT/evaluation', asDevice],
  ];
  const cases = targets.flatMap(([method, path, who]) =>
    Object.entries(bodies).map(([what, body]) => ({ method, path, who, what, body })),
  );

  it.each(cases)('$what to $method $path has no effect that nobody foresaw', async (one) => {
    const path = one.path.replace('DEVICE', known.device).replace('ASSIGNMENT', known.assignment);
    const status = await statusOf(
      requestOf(`${one.method} ${path} HTTP/1.1`, [one.who(), JSON_TYPE], one.body),
    );
    expect(status).toBeGreaterThanOrEqual(200);
    expect(status).toBeLessThan(500);
    expect(({} as { admin?: boolean }).admin).toBeUndefined();
  });

  it('that leaves no surprise: what was stored can be listed', async () => {
    for (const path of [
      '/v1/models',
      '/v1/devices',
      '/v1/enrollment-tokens',
      '/v1/operator-keys',
      '/v1/audit',
    ]) {
      expect(await statusOf(requestOf(`GET ${path}?limit=200 HTTP/1.1`, [asOperator()]))).toBe(200);
    }
  });
});

describe('headers', () => {
  const update = () => `PUT /v1/assignments/${known.assignment}/update HTTP/1.1`;
  const type = 'content-type: application/octet-stream';
  const digest = 'content-digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:';
  it.each<[string, () => Uint8Array]>([
    ['Authorization twice', () => requestOf('GET /v1/models HTTP/1.1', [asOperator(), asOperator()])],
    [
      'Authorization in Latin-1',
      () => requestOf('GET /v1/models HTTP/1.1', ['authorization: Bearer \xe4\xff']),
    ],
    ['a tab in Authorization', () => requestOf('GET /v1/models HTTP/1.1', ['authorization: Bearer\tx'])],
    [
      'Content-Type twice',
      () => requestOf('POST /v1/models HTTP/1.1', [asOperator(), JSON_TYPE, JSON_TYPE], '{}'),
    ],
    ['no Content-Type', () => requestOf('POST /v1/models HTTP/1.1', [asOperator()], '{}')],
    [
      'a broken Content-Type',
      () => requestOf('POST /v1/models HTTP/1.1', [asOperator(), 'content-type: ;;='], '{}'),
    ],
    [
      'a form without a boundary',
      () => requestOf('POST /v1/token HTTP/1.1', ['content-type: multipart/form-data'], 'x'),
    ],
    [
      'a broken form',
      () =>
        requestOf(
          'POST /v1/token HTTP/1.1',
          ['content-type: multipart/form-data; boundary=x'],
          '--x\r\n\r\n',
        ),
    ],
    [
      'a form of percent signs',
      () =>
        requestOf(
          'POST /v1/token HTTP/1.1',
          ['content-type: application/x-www-form-urlencoded'],
          '%%%&=&grant_type=%00&client_assertion=%ED%A0%80',
        ),
    ],
    ['Content-Digest twice', () => requestOf(update(), [asDevice(), type, digest, digest], 'x')],
    [
      'a long Content-Digest',
      () => requestOf(update(), [asDevice(), type, `content-digest: ${'sha-256=:,'.repeat(500)}`], 'x'),
    ],
    [
      'ranges without an end',
      () =>
        requestOf(`GET /v1/models/${known.model}/versions/1/weights HTTP/1.1`, [
          asOperator(),
          `range: bytes=${'0-,'.repeat(1500)}`,
        ]),
    ],
    [
      'a range beyond numbers',
      () =>
        requestOf(`GET /v1/models/${known.model}/versions/1/weights HTTP/1.1`, [
          asOperator(),
          `range: bytes=${'9'.repeat(400)}-`,
        ]),
    ],
    [
      'many ETags',
      () =>
        requestOf(`GET /v1/models/${known.model}/current HTTP/1.1`, [
          asOperator(),
          `if-none-match: ${'"x",W/'.repeat(1000)}`,
        ]),
    ],
    [
      'a position beyond numbers',
      () => requestOf('GET /v1/events HTTP/1.1', [asOperator(), `last-event-id: ${'9'.repeat(400)}`]),
    ],
    [
      'an Upload-Offset beyond numbers',
      () =>
        requestOf(
          `PATCH /v1/uploads/${known.upload} HTTP/1.1`,
          [
            asDevice(),
            'content-type: application/partial-upload',
            `upload-offset: ${'9'.repeat(40)}`,
            'upload-complete: ?1',
          ],
          'x',
        ),
    ],
    [
      'X-Forwarded-For of nonsense',
      () => requestOf('GET /livez HTTP/1.1', [`x-forwarded-for: ${',;"'.repeat(2000)}`]),
    ],
    [
      'an Idempotency-Key in Latin-1',
      () => requestOf('POST /v1/models HTTP/1.1', [asOperator(), JSON_TYPE, 'idempotency-key: \xe4'], '{}'),
    ],
    [
      '__proto__',
      () => requestOf('GET /v1/models HTTP/1.1', [asOperator(), '__proto__: x', 'constructor: y']),
    ],
    ['Upgrade', () => requestOf('GET /v1/models HTTP/1.1', [asOperator(), 'upgrade: websocket'])],
    ['HTTP/1.0', () => requestOf('GET /livez HTTP/1.0', [])],
  ])('%s', async (_what, bytes) => {
    const status = await statusOf(bytes());
    expect(status).toBeGreaterThanOrEqual(200);
    expect(status).toBeLessThan(500);
  });
});

describe('what is no request of ours', () => {
  it.each<[string, string]>([
    ['nothing but line ends', '\r\n\r\n\r\n\r\n'],
    ['a greeting by TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['HTTP/2 as if we had agreed', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['no host', 'GET /livez HTTP/1.1\r\n\r\n'],
    ['a host of nonsense', 'GET /livez HTTP/1.1\r\nhost: a b@:99999\r\nconnection: close\r\n\r\n'],
    ['two hosts', 'GET /livez HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n'],
    ['a line that ends in LF alone', 'GET /livez HTTP/1.1\nhost: a\n\n'],
    ['a folded header', 'GET /livez HTTP/1.1\r\nhost: a\r\nx: y\r\n z\r\nconnection: close\r\n\r\n'],
    ['a space before the colon', 'GET /livez HTTP/1.1\r\nhost : a\r\n\r\n'],
    ['NUL in a header', 'GET /livez HTTP/1.1\r\nhost: a\r\nx: \0\r\n\r\n'],
    ['two lengths', 'POST /v1/token HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'],
    [
      'a length and chunks',
      'POST /v1/token HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a negative length', 'POST /v1/token HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n'],
    ['a chunk of nonsense', 'POST /v1/token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n'],
    [
      'chunks twice',
      'POST /v1/token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n',
    ],
    ['CONNECT', 'CONNECT evil.example:443 HTTP/1.1\r\nhost: a\r\n\r\n'],
    ['TRACE', 'TRACE /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'],
    ['a method nobody knows', 'BREW /livez HTTP/1.1\r\nhost: a\r\n\r\n'],
    [
      'a method with a length',
      'PROPFIND /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx',
    ],
    ['a thousand headers', `GET /livez HTTP/1.1\r\nhost: a\r\n${'a: b\r\n'.repeat(1000)}\r\n`],
  ])('%s ends in a refusal or a closed connection', async (_what, text) => {
    expect(await statusOf(Buffer.from(text, 'latin1'))).toBeLessThan(500);
  });
});

it('after all of that the server serves', async () => {
  expect(await statusOf(requestOf('GET /readyz HTTP/1.1', []))).toBe(200);
});
