import { createHmac, createPublicKey, hkdfSync } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { createTestApp, type EnrolledDevice, type TestApp } from '../../support/app.ts';
import { createDeviceKey, seconds } from '../../support/identity/device-keys.ts';
import {
  part,
  respell,
  signText,
  tamper,
  twinSignature,
  withSignature,
} from '../../support/identity/forgeries.ts';
import { openRaw, requestHead } from '../../support/raw-http.ts';

/* Tokens that others have taken, each with where it says that they must not be. All are sent as Bearer tokens. */

let t: TestApp;
let device: EnrolledDevice;

beforeAll(async () => {
  t = await createTestApp();
  device = await t.enrolDevice();
});
afterAll(() => t?.close());

const now = () => seconds(t.clock.now());
const claims = (changes: Record<string, unknown> = {}) => ({
  iss: t.deps.publicUrl,
  aud: t.deps.publicUrl,
  sub: device.id,
  client_id: device.id,
  iat: now(),
  exp: now() + 600,
  jti: 'made-by-hand',
  federation: 'default',
  cnf: { jkt: device.key.thumbprint },
  ...changes,
});
const header = (changes: Record<string, unknown> = {}) => ({
  alg: 'ES256',
  typ: 'at+jwt',
  kid: t.deps.keys.signing.kid,
  ...changes,
});
/** Signed by our own key: only what is wrong with it can be what it is refused for. */
const forge = (wrong: Record<string, unknown> = {}, head: Record<string, unknown> = {}) =>
  signText(t.deps.keys.signing.key, JSON.stringify(header(head)), JSON.stringify(claims(wrong)));
const unsigned = (head: object, signature = '') =>
  `${part(header({ ...head }))}.${part(claims())}.${signature}`;

async function statusOf(token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  return (await t.app.request('/v1/devices/me', { headers })).status;
}

/** Sends the token's bytes as they are, also those that no HTTP client would put into a header. */
async function rawStatusOf(server: Listening, token: string | Uint8Array): Promise<number> {
  const [before, after] = requestHead('GET', '/v1/devices/me', {
    authorization: 'Bearer TOKEN',
    connection: 'close',
  }).split('TOKEN') as [string, string];
  const connection = openRaw(server.port);
  connection.send(Buffer.concat([Buffer.from(before), Buffer.from(token), Buffer.from(after)]));
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(await connection.ended())?.[1]);
}

it('takes what the attacks are made from', async () => {
  expect(await statusOf(await forge())).toBe(200);
  expect(
    await statusOf(
      await signText(t.deps.keys.signing.key, ` ${JSON.stringify(header())} `, JSON.stringify(claims())),
    ),
  ).toBe(200);
});

describe('access tokens with an algorithm that is not ours', () => {
  it.each(['none', 'None', 'NONE', 'nOnE', 'none ', '', 'ES256 ', 'es256', 'ES256K', 'ES384', 'null'])(
    '"%s" (CVE-2015-9235, RFC 8725 3.1)',
    async (alg) => {
      expect(await statusOf(unsigned({ alg }))).toBe(401);
      expect(await statusOf(unsigned({ alg }, 'AA'))).toBe(401);
      const signed = await forge();
      expect(await statusOf(tamper(signed, { alg }))).toBe(401);
    },
  );

  it.each([[['ES256']], [{ toString: 'ES256' }], [null], [256], [true]])(
    '%j, which is no string (RFC 7515 4.1.1)',
    async (alg) => expect(await statusOf(await forge({}, { alg }))).toBe(401),
  );

  it.each(['HS256', 'HS384', 'HS512'])(
    '%s with our public key as the secret (CVE-2016-10555)',
    async (alg) => {
      const [jwk] = t.deps.keys.jwks.keys;
      const key = createPublicKey({ key: jwk as never, format: 'jwk' });
      const secrets = [
        JSON.stringify(jwk),
        key.export({ type: 'spki', format: 'pem' }),
        key.export({ type: 'spki', format: 'der' }),
        '',
        Buffer.from(hkdfSync('sha256', 'fededge', '', '', 32)),
      ];
      for (const secret of secrets) {
        const input = `${part(header({ alg }))}.${part(claims())}`;
        const mac = createHmac(`sha${alg.slice(2)}`, secret)
          .update(input)
          .digest('base64url');
        expect(await statusOf(`${input}.${mac}`)).toBe(401);
      }
    },
  );
});

describe('access tokens with a signature that proves nothing', () => {
  it.each([
    ['64 zeros, r = s = 0 (CVE-2022-21449)', Buffer.alloc(64)],
    [
      'r = s = the order of the curve (FIPS 186-5 6.4.2)',
      Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551'.repeat(2), 'hex'),
    ],
    ['all ones (FIPS 186-5 6.4.2)', Buffer.alloc(64, 0xff)],
    ['one byte (RFC 7518 3.4)', Buffer.alloc(1)],
    ['65 bytes (RFC 7518 3.4)', Buffer.alloc(65, 1)],
    ['zeros in DER (CVE-2022-21449)', Buffer.from('3006020100020100', 'hex')],
  ])('%s', async (_, bytes) => expect(await statusOf(withSignature(await forge(), bytes))).toBe(401));

  it('a good one with a byte more or less (RFC 7518 3.4)', async () => {
    const token = await forge();
    const bytes = Buffer.from(token.split('.')[2]!, 'base64url');
    expect(await statusOf(withSignature(token, Buffer.concat([bytes, Buffer.alloc(1)])))).toBe(401);
    expect(await statusOf(withSignature(token, bytes.subarray(0, 63)))).toBe(401);
  });

  it('by a key that the token brings: jwk (CVE-2018-0114), jku, x5u, x5c (RFC 8725 3.10)', async () => {
    const stranger = await createDeviceKey();
    const kid = await calculateJwkThumbprint(stranger.jwk);
    const brought = [
      { jwk: stranger.jwk },
      { jwk: stranger.jwk, kid },
      { jku: 'https://evil.test/jwks.json' },
      { jku: `${t.deps.publicUrl}/../jwks.json` },
      { x5u: 'https://evil.test/cert.pem' },
      { x5c: ['MIIB'] },
    ];
    for (const head of brought) {
      const token = await signText(
        stranger.privateKey,
        JSON.stringify(header(head)),
        JSON.stringify(claims()),
      );
      expect(await statusOf(token)).toBe(401);
    }
  });

  it("by the device's own key, which signs assertions, not access tokens (RFC 8725 3.12)", async () => {
    const token = await signText(device.key.privateKey, JSON.stringify(header()), JSON.stringify(claims()));
    expect(await statusOf(token)).toBe(401);
  });

  it('that does not cover the changed claims (RFC 7515 5.2)', async () => {
    expect(await statusOf(tamper(await forge(), {}, { exp: now() + 500 }))).toBe(401);
  });

  it('that is the twin of a good one means the same token, no more (BIP 62, ECDSA malleability)', async () => {
    const twin = twinSignature(await forge());
    expect(await statusOf(twin)).toBe(200);
    expect(await statusOf(tamper(twin, {}, { sub: 'another' }))).toBe(401);
  });
});

describe('access tokens with a kid that is', () => {
  it.each([
    ['a path (RFC 7515 10.5, CWE-22)', '../../../../dev/null'],
    ['a URL (CWE-918)', 'http://169.254.169.254/latest/meta-data'],
    ['SQL (CWE-89)', "x' or '1'='1"],
    ['a command (CWE-78, as CVE-2017-17405)', '|id'],
    ['NUL (CWE-158)', 'a\0b'],
    ['a member of every object (CWE-1321)', '__proto__'],
    ['a constructor (CWE-1321)', 'constructor'],
    ['very long (CWE-400)', 'k'.repeat(3000)],
    ['empty (RFC 7517 4.5)', ''],
    ['a number (RFC 7515 4.1.4)', 7],
    ['null (RFC 7515 4.1.4)', null],
    ['a list (RFC 7515 4.1.4)', ['x']],
    ['a list of our own (RFC 7515 4.1.4)', () => [t.deps.keys.signing.kid]],
    ['ours in upper case (RFC 7515 4.1.4)', () => t.deps.keys.signing.kid.toUpperCase()],
  ])('%s', async (_, made) => {
    const kid = typeof made === 'function' ? made() : made;
    expect(await statusOf(await forge({}, { kid }))).toBe(401);
  });
});

describe('access tokens in another spelling', () => {
  let server: Listening;
  beforeAll(async () => {
    server = await listen(t.app, { host: '127.0.0.1', port: 0 });
  });
  afterAll(() => server?.close(0));

  it('than ours, sent as bytes, are what is refused here', async () => {
    expect(await rawStatusOf(server, await forge())).toBe(200);
  });

  const names = respell('AAAA.BBBB.CCCC').map(([name]) => name);
  it.each(names)('%s', async (name) => {
    let token = await forge();
    // A token without - and _ is the same in both alphabets.
    while (!/[-_]/.test(token)) token = await forge();
    const spelling = new Map(respell(token)).get(name)!;
    // A bare line feed ends no line of a head (RFC 9112 2.2): that request is refused before its token is.
    expect(await rawStatusOf(server, spelling)).toBe(spelling.includes('\n') ? 400 : 401);
  });

  const signed = async (head: string, body: string) =>
    statusOf(await signText(t.deps.keys.signing.key, head, body));
  const twice = (json: string, member: string) => `${json.slice(0, -1)},${member}}`;

  it('a claim twice (RFC 7519 4)', async () => {
    expect(await signed(JSON.stringify(header()), twice(JSON.stringify(claims()), '"sub":"x"'))).toBe(401);
    const same = `"sub":${JSON.stringify(device.id)}`;
    expect(await signed(JSON.stringify(header()), twice(JSON.stringify(claims()), same))).toBe(401);
    const escaped = `"s\\u0075b":${JSON.stringify(device.id)}`;
    expect(await signed(JSON.stringify(header()), twice(JSON.stringify(claims()), escaped))).toBe(401);
  });

  it('a header parameter twice (RFC 7515 4)', async () => {
    expect(await signed(twice(JSON.stringify(header()), '"alg":"ES256"'), JSON.stringify(claims()))).toBe(
      401,
    );
    expect(await signed(twice(JSON.stringify(header()), '"alg":"none"'), JSON.stringify(claims()))).toBe(401);
  });

  it('a member twice within cnf (RFC 8259 4)', async () => {
    const { cnf, ...rest } = claims();
    const inner = `"cnf":{"jkt":"x","jkt":${JSON.stringify(cnf.jkt)}}`;
    expect(await signed(JSON.stringify(header()), twice(JSON.stringify(rest), inner))).toBe(401);
  });

  it('claims that are no object (RFC 7519 7.2)', async () => {
    for (const body of [
      '[]',
      '"x"',
      'null',
      '1',
      '',
      '{',
      `${JSON.stringify(claims())}{}`,
      `\ufeff${JSON.stringify(claims())}`,
    ]) {
      expect(await signed(JSON.stringify(header()), body), body).toBe(401);
    }
  });

  it('what is not UTF-8 (RFC 7515 2)', async () => {
    const [, body, signature] = (await forge()).split('.');
    expect(
      await statusOf(`${Buffer.from([0x7b, 0xff, 0x7d]).toString('base64url')}.${body}.${signature}`),
    ).toBe(401);
  });
});

describe('access tokens with a header that asks for', () => {
  it.each([
    ['a critical extension that nobody knows (RFC 7515 4.1.11)', { crit: ['newer'], newer: 1 }],
    ['an empty list of critical extensions (RFC 7515 4.1.11)', { crit: [] }],
    ['a critical parameter of the RFC itself (RFC 7515 4.1.11)', { crit: ['alg'] }],
    ['a payload that is not encoded (RFC 7797 6)', { crit: ['b64'], b64: false }],
    ['the same without saying that it is critical (RFC 7797 6)', { b64: false }],
    ['another type (RFC 9068 2.1)', { typ: 'JWT' }],
    ['no type (RFC 8725 3.11)', { typ: undefined }],
    ['the type of a proof (RFC 8725 3.12)', { typ: 'fededge-proof+jwt' }],
    ['a type that begins like ours (RFC 8725 3.11)', { typ: 'at+jwtx' }],
    ['a type that is no string (RFC 7515 4.1.9)', { typ: ['at+jwt'] }],
  ])('%s', async (_, head) => expect(await statusOf(await forge({}, head))).toBe(401));
});

describe('access tokens with claims that', () => {
  it.each<[string, () => Record<string, unknown>]>([
    ['name an issuer that begins like us (RFC 8725 3.8)', () => ({ iss: `${t.deps.publicUrl}.evil.test` })],
    ['name us with a slash as issuer (RFC 8725 3.8)', () => ({ iss: `${t.deps.publicUrl}/` })],
    ['name a list of issuers (RFC 7519 4.1.1)', () => ({ iss: [t.deps.publicUrl] })],
    ['name an audience that begins like us (RFC 8725 3.9)', () => ({ aud: `${t.deps.publicUrl}.evil.test` })],
    ['name a part of us as audience (RFC 8725 3.9)', () => ({ aud: t.deps.publicUrl.slice(0, -1) })],
    [
      'name others in a list of audiences (RFC 8725 3.9)',
      () => ({ aud: ['https://a.test', 'https://b.test'] }),
    ],
    ['name no audience in a list (RFC 8725 3.9)', () => ({ aud: [] })],
    [
      'name the token endpoint, as assertions do (RFC 8725 3.12)',
      () => ({ aud: `${t.deps.publicUrl}/v1/token` }),
    ],
    ['lack the issuer (RFC 9068 2.2)', () => ({ iss: undefined })],
    ['lack the audience (RFC 9068 2.2)', () => ({ aud: undefined })],
    ['lack the subject (RFC 9068 2.2)', () => ({ sub: undefined })],
    ['lack the client (RFC 9068 2.2)', () => ({ client_id: undefined })],
    ['lack the time of issue (RFC 9068 2.2)', () => ({ iat: undefined })],
    ['lack the expiry (RFC 9068 2.2)', () => ({ exp: undefined })],
    ['lack the jti (RFC 9068 2.2)', () => ({ jti: undefined })],
    ['lack the key (RFC 7800 3)', () => ({ cnf: undefined })],
    ['expire at a text (RFC 7519 2)', () => ({ exp: String(now() + 600) })],
    ['expire never (RFC 8259 6)', () => ({ exp: null })],
    ['are of the future (RFC 7519 4.1.6)', () => ({ iat: now() + 60 })],
    ['hold from a minute on (RFC 7519 4.1.5)', () => ({ nbf: now() + 60 })],
    ['expired 6 s ago (RFC 7519 4.1.4)', () => ({ exp: now() - 6 })],
    [
      'were issued 11 minutes ago for a year (RFC 9068 2.2)',
      () => ({ iat: now() - 660, exp: now() + 31_536_000 }),
    ],
    ['name another federation (CWE-639)', () => ({ federation: 'attacked' })],
    ['name a federation of the prototype (CWE-1321)', () => ({ federation: '__proto__' })],
    ['name SQL for a key (CWE-89)', () => ({ cnf: { jkt: "' or 1=1 --" } })],
    ['name NUL for a key (CWE-158)', () => ({ cnf: { jkt: '\0' } })],
  ])('%s', async (_, wrong) => expect(await statusOf(await forge(wrong()))).toBe(401));
});
