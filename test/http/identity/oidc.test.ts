import { constants, createHmac, createPublicKey, generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { streamEvents } from '../../../api/http/wire/event-stream.ts';
import { authenticate } from '../../../api/services/identity/authentication.ts';
import { answerOf } from '../../support/answers.ts';
import { createTestApp, jsonRequest, type TestApp } from '../../support/app.ts';
import { seconds } from '../../support/identity/device-keys.ts';
import { part, tamper } from '../../support/identity/forgeries.ts';
import { AUDIENCE, appTrusting, claimsOf, trusting } from '../../support/identity/oidc-app.ts';
import { startTestIssuer, type TestIssuer } from '../../support/identity/oidc-issuer.ts';

let t: TestApp;
let issuer: TestIssuer;
let app: TestApp['app'];

beforeAll(async () => {
  t = await createTestApp();
});
afterAll(() => t?.close());
beforeEach(async () => {
  issuer = await startTestIssuer();
  app = await appTrusting(t, issuer);
});
afterEach(() => issuer.close());

const tokenOf = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) =>
  issuer.sign(claimsOf(t, issuer, changes), header);
const list = async (token: string, at = app) =>
  answerOf(at.request('/v1/devices', { headers: { authorization: `Bearer ${token}` } }));
const create = async (token: string, name: string, at = app) =>
  answerOf(
    at.request('/v1/enrollment-tokens', jsonRequest('POST', { name }, { authorization: `Bearer ${token}` })),
  );

describe('operators by OpenID Connect', () => {
  it('do what their role allows, under their own name in the audit log', async () => {
    const token = await tokenOf();
    const { status, body } = await create(token, 'by ada');
    expect(status).toBe(201);
    const [row] = await t.deps.db.client`
      select actor from audit_entries where target = ${`enrollment_token:${body.id}`}`;
    expect(row!.actor).toBe(`oidc:${issuer.url}|ada`);
  });

  it.each([
    ['a viewer', ['fl-readers'], 200, 403],
    ['a releaser', ['other', 'fl-pipelines'], 200, 403],
    [
      'an operator of several groups, the first line of the mapping decides',
      ['fl-readers', 'fl-admins'],
      200,
      201,
    ],
    ['words in one string', 'openid fl-admins', 200, 201],
    ['no known group', ['fl-adminsx', 'FL-ADMINS'], 403, 403],
    ['no group', [], 403, 403],
    ['no claim', undefined, 403, 403],
    ['an object', { 'fl-admins': true }, 403, 403],
    ['a nested list', [['fl-admins']], 403, 403],
    ['a member of every object', 'constructor', 403, 403],
  ])('have the role of their groups: %s', async (_, groups, read, write) => {
    const token = await tokenOf({ groups });
    expect((await list(token)).status).toBe(read);
    expect((await create(token, 'x')).status).toBe(write);
  });

  it('have their roles deep in a token, or under a name with dots', async () => {
    const nested = await appTrusting(t, issuer, {
      roleClaim: 'realm_access.roles',
      roles: { admin: 'operator' },
    });
    expect((await list(await tokenOf({ realm_access: { roles: ['admin'] } }), nested)).status).toBe(200);
    expect((await list(await tokenOf({ 'realm_access.roles': ['admin'] }), nested)).status).toBe(403);
    const dotted = await appTrusting(t, issuer, {
      roleClaim: ['https://fl.example/role'],
      roles: { admin: 'viewer' },
    });
    expect((await list(await tokenOf({ 'https://fl.example/role': 'admin' }), dotted)).status).toBe(200);
    const inherited = await appTrusting(t, issuer, {
      roleClaim: '__proto__.constructor.name',
      roles: { Object: 'operator' },
    });
    expect((await list(await tokenOf(), inherited)).status).toBe(403);
  });

  it('see the federation that their issuer is for, and no other', async () => {
    const other = await appTrusting(t, issuer, { federation: 'elsewhere' });
    const device = await t.enrolDevice();
    expect((await list(await tokenOf())).body.items).not.toEqual([]);
    expect((await list(await tokenOf(), other)).body.items).toEqual([]);
    const headers = { authorization: `Bearer ${await tokenOf()}` };
    expect((await other.request(`/v1/devices/${device.id}`, { headers })).status).toBe(404);
  });

  it.each([undefined, 'JWT', 'at+jwt', 'application/at+jwt'])('bring tokens of the type %s', async (typ) => {
    expect((await list(await tokenOf({}, { typ }))).status).toBe(200);
  });

  it('bring a token for several audiences, ours among them', async () => {
    expect((await list(await tokenOf({ aud: ['other', AUDIENCE] }))).status).toBe(200);
  });

  it('are no devices', async () => {
    const headers = { authorization: `Bearer ${await tokenOf()}` };
    expect((await app.request('/v1/devices/me', { headers })).status).toBe(403);
  });

  it('whose token runs out in the middle of an event stream lose it', async () => {
    const deps = await trusting(t, issuer);
    const authorization = `Bearer ${await tokenOf({ exp: seconds(t.clock.now()) + 10 })}`;
    const reader = streamEvents({
      position: 0,
      follow: async function* (signal) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
        yield* [];
      },
      stillAllowed: () => authenticate(deps, authorization, 'viewer'),
      onError: () => {},
      signal: new AbortController().signal,
      heartbeatMs: 5,
    }).getReader();
    expect((await reader.read()).done).toBe(false);
    expect(new TextDecoder().decode((await reader.read()).value)).toBe(': \n\n');
    t.clock.advance(16_000);
    let last = await reader.read();
    while (!last.done) last = await reader.read();
    expect(last.done).toBe(true);
  });
});

describe('tokens of an issuer that are refused', () => {
  const now = () => seconds(t.clock.now());

  it.each<[string, () => Promise<string>]>([
    ['another audience (OIDC Core 3.1.3.7 item 3)', () => tokenOf({ aud: 'other' })],
    ['an audience that begins like ours (RFC 8725 3.9)', () => tokenOf({ aud: `${AUDIENCE}-test` })],
    ['no audience (RFC 8725 3.9)', () => tokenOf({ aud: undefined })],
    ['an issuer that is not configured (RFC 8725 3.8)', () => tokenOf({ iss: 'https://issuer.test' })],
    ['an issuer with a slash more (OIDC Core 3.1.3.7 item 2)', () => tokenOf({ iss: `${issuer.url}/` })],
    ['our own URL as issuer (RFC 8725 3.8)', () => tokenOf({ iss: t.deps.publicUrl })],
    ['no subject (OIDC Core 2)', () => tokenOf({ sub: undefined })],
    ['an empty subject (OIDC Core 2)', () => tokenOf({ sub: '' })],
    ['a subject that is no string (RFC 7519 4.1.2)', () => tokenOf({ sub: { $ne: 1 } })],
    ['a subject with a line break, for the audit log (CWE-117)', () => tokenOf({ sub: 'ada\nroot' })],
    ['a subject of 256 characters (OIDC Core 2)', () => tokenOf({ sub: 'a'.repeat(256) })],
    ['no expiry (RFC 8725 3.10)', () => tokenOf({ exp: undefined })],
    ['no time of issue (OIDC Core 2)', () => tokenOf({ iat: undefined })],
    ['a time of issue in the future (RFC 7519 4.1.6)', () => tokenOf({ iat: now() + 60 })],
    ['not before a minute from now (RFC 7519 4.1.5)', () => tokenOf({ nbf: now() + 60 })],
    ['a logout token (OIDC Back-Channel Logout 2.4)', () => tokenOf({}, { typ: 'logout+jwt' })],
    ['a security event (RFC 8417 2.3)', () => tokenOf({}, { typ: 'secevent+jwt' })],
    ['a DPoP proof (RFC 9449 4.2)', () => tokenOf({}, { typ: 'dpop+jwt' })],
    ['a token that is bound to a key (RFC 9449 7.2)', () => tokenOf({ cnf: { jkt: 'A'.repeat(43) } })],
    ['a kid that the issuer does not have (RFC 7515 4.1.4)', () => tokenOf({}, { kid: '../../first' })],
    ['a critical extension (RFC 7515 4.1.11)', async () => tamper(await tokenOf(), { crit: ['exp'] })],
    ['a changed claim (RFC 7515 5.2)', async () => tamper(await tokenOf(), {}, { sub: 'eve' })],
  ])('%s', async (_, make) => {
    expect(await list(await make())).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    // The same without what is wrong passes, so it is that which was refused.
    expect((await list(await tokenOf())).status).toBe(200);
  });

  it('expired (RFC 7519 4.1.4), or older than is allowed here whatever it claims', async () => {
    const expired = await tokenOf({ iat: now() - 700, exp: now() - 100 });
    expect(await list(expired)).toMatchObject({ status: 401, body: { code: 'token_expired' } });
    const old = await tokenOf({ iat: now() - 7300, exp: now() + 3600 });
    expect(await list(old)).toMatchObject({ status: 401, body: { code: 'token_expired' } });
  });

  it('an algorithm that is not allowed (RFC 8725 3.1), though the key could', async () => {
    const input = `${part({ alg: 'PS256', kid: 'first' })}.${part(claimsOf(t, issuer))}`;
    const key = KeyObject.from(issuer.keys[0]!.privateKey as never);
    const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    const token = `${input}.${sign('sha256', Buffer.from(input), pss).toString('base64url')}`;
    expect(await list(token)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    expect((await list(token, await appTrusting(t, issuer, { algorithms: ['PS256'] }))).status).toBe(200);
  });

  it('HS256 with the public key as the secret (CVE-2015-9235, RFC 8725 2.1)', async () => {
    const pem = createPublicKey({ key: issuer.keys[0]!.jwk as never, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    });
    const input = `${part({ alg: 'HS256', kid: 'first' })}.${part(claimsOf(t, issuer))}`;
    const forged = `${input}.${createHmac('sha256', pem).update(input).digest('base64url')}`;
    expect((await list(forged)).status).toBe(401);
  });

  it('with a key, a place or a certificate of its own (CVE-2018-0114, RFC 7515 10.5): nothing is fetched', async () => {
    const evil = await startTestIssuer();
    try {
      const jku = { jku: evil.jwksUri, x5u: `${evil.url}/cert`, jwk: evil.keys[0]!.jwk };
      const token = await evil.sign({ ...claimsOf(t, issuer), iss: issuer.url }, { kid: 'first', ...jku });
      expect((await list(token)).status).toBe(401);
      const elsewhere = await evil.sign({ ...claimsOf(t, issuer), iss: evil.url }, jku);
      expect((await list(elsewhere)).status).toBe(401);
      expect(evil.asked).toBe(0);
    } finally {
      await evil.close();
    }
  });

  it('signed by an RSA key of 1,024 bits (RFC 7518 3.3), though the issuer publishes it', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const kid = 'short';
    issuer.keys.push({
      ...issuer.keys[0]!,
      kid,
      jwk: { ...publicKey.export({ format: 'jwk' }), kid } as never,
    });
    const input = `${part({ alg: 'RS256', kid })}.${part(claimsOf(t, issuer))}`;
    const token = `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
    expect(await list(token)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  it('of a second issuer under the name of the first (RFC 8725 3.8)', async () => {
    const second = await startTestIssuer();
    try {
      const token = await second.sign(claimsOf(t, issuer), { kid: 'first' });
      expect((await list(token)).status).toBe(401);
    } finally {
      await second.close();
    }
  });
});
