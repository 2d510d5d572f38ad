import { decodeJwt, decodeProtectedHeader, type JWK, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  registrationOf,
  requestToken,
  sendAssertion,
  type TestApp,
} from '../../support/app.ts';
import {
  createDeviceKey,
  type DeviceKey,
  seconds,
  sign,
  signAssertion,
} from '../../support/identity/device-keys.ts';

const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
let t: TestApp;
let device: EnrolledDevice;

beforeAll(async () => {
  t = await createTestApp();
  device = await t.enrolDevice();
});
afterAll(() => t.close());

function ask(claims: Record<string, unknown> = {}, by: { id: string; key: DeviceKey } = device) {
  return answerOf(requestToken(t.app, t.deps, by, claims));
}

function assertionOf(claims: Record<string, unknown> = {}): Promise<string> {
  const aud = `${t.deps.publicUrl}/v1/token`;
  return signAssertion(device.key, { aud, deviceId: device.id, now: t.clock.now(), claims });
}

function sendForm(body: string | URLSearchParams, headers: Record<string, string> = {}) {
  const type = { 'content-type': 'application/x-www-form-urlencoded' };
  return answerOf(
    t.app.request('/v1/token', { method: 'POST', body: body.toString(), headers: { ...type, ...headers } }),
  );
}

describe('POST /v1/token', () => {
  it('issues an at+jwt of 10 minutes that is bound to the key', async () => {
    const response = await requestToken(t.app, t.deps, device);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const { status, body } = await answerOf(response);
    expect({ status, body }).toMatchObject({ status: 200, body: { token_type: 'Bearer', expires_in: 600 } });
    const token = body.access_token as string;
    const jwks = await answerOf(t.app.request('/.well-known/jwks.json'));
    const [published] = jwks.body.keys as JWK[];
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: published!.kid });
    const now = seconds(t.clock.now());
    expect(decodeJwt(token)).toEqual({
      iss: t.deps.publicUrl,
      aud: t.deps.publicUrl,
      sub: device.id,
      client_id: device.id,
      iat: now,
      exp: now + 600,
      jti: expect.any(String),
      federation: 'default',
      cnf: { jkt: device.key.thumbprint },
    });
  });

  it.each([
    ['the public URL as audience', { aud: 'https://fededge.test' }],
    ['one audience of several', { aud: ['https://other.test', 'https://fededge.test/v1/token'] }],
  ])('takes %s', async (_, claims) => {
    expect((await ask(claims)).status).toBe(200);
  });

  it.each([
    ['another audience', { aud: 'https://other.test' }],
    ['another issuer', { iss: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' }],
    ['an issuer that is no id', { iss: "'; drop table devices" }],
    ['another subject', { sub: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' }],
    ['no subject', { sub: undefined }],
    ['no jti', { jti: undefined }],
    ['an empty jti', { jti: '' }],
    ['no expiry', { exp: undefined }],
    ['no iat', { iat: undefined }],
    ['an expiry that is no number', { exp: 'tomorrow' }],
  ])('refuses %s', async (_, claims) => {
    expect(await ask(claims)).toMatchObject({
      status: 401,
      body: { error: 'invalid_client', code: 'invalid_client' },
    });
  });

  it('refuses a life of more than 10 minutes', async () => {
    const now = seconds(t.clock.now());
    expect(await ask({ exp: now + 600 })).toMatchObject({ status: 200 });
    expect(await ask({ exp: now + 601 })).toMatchObject({ status: 401, body: { code: 'invalid_client' } });
    expect(await ask({ exp: 1e300 })).toMatchObject({ status: 401, body: { code: 'invalid_client' } });
  });

  it('takes an assertion once, on whichever replica, also at the same moment', async () => {
    const other = await t.replica();
    const assertion = await assertionOf();
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => answerOf(sendAssertion(i % 2 ? other.app : t.app, assertion))),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)]);
  });

  it('remembers a jti for as long as its assertion would be taken', async () => {
    const assertion = await assertionOf({ exp: seconds(t.clock.now()) + 600 });
    expect((await sendAssertion(t.app, assertion)).status).toBe(200);
    const [used] = await t.deps.db.client`select max(expires_at) as until from used_assertions`;
    t.clock.advance(604_000);
    expect(new Date(used!.until).getTime()).toBeGreaterThan(t.clock.now().getTime() + 1000);
    expect(await answerOf(sendAssertion(t.app, assertion))).toMatchObject({
      status: 401,
      body: { code: 'invalid_client' },
    });
  });

  it.each([
    ['fast', 3600],
    ['slow', -3600],
  ])('tells a device whose clock is %s what time it is', async (_, offset) => {
    const iat = seconds(t.clock.now()) + offset;
    expect(await ask({ iat, exp: iat + 60 })).toMatchObject({
      status: 401,
      body: { error: 'invalid_client', code: 'clock_skew', serverTime: t.clock.now().toISOString() },
    });
  });

  it('tells the time to nobody who does not hold the key', async () => {
    const iat = seconds(t.clock.now()) + 3600;
    const stranger = { id: device.id, key: await createDeviceKey() };
    const answer = await ask({ iat, exp: iat + 60 }, stranger);
    expect(answer).toMatchObject({ status: 401, body: { code: 'invalid_client' } });
    expect(answer.body).not.toHaveProperty('serverTime');
  });

  it('refuses the key of another device, none at all, and one that the assertion brings', async () => {
    const other = await t.enrolDevice();
    expect((await ask({}, { id: device.id, key: other.key })).status).toBe(401);
    const now = seconds(t.clock.now());
    const claims = { ...decodeJwt(await assertionOf()), iat: now, exp: now + 60 };
    const stranger = await createDeviceKey();
    const embedded = await sign(stranger, claims, { jwk: stranger.jwk, kid: device.key.thumbprint });
    const none = `${encode({ alg: 'none' })}.${encode(claims)}.`;
    const secret = await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .sign(Buffer.from(JSON.stringify(device.key.jwk)));
    for (const assertion of [embedded, none, secret, 'a.b.c', '', 'x'.repeat(4097)]) {
      expect(await answerOf(sendAssertion(t.app, assertion))).toMatchObject({
        status: 401,
        body: { error: 'invalid_client' },
      });
    }
  });

  it('refuses a registration proof as an assertion, and an assertion as a proof', async () => {
    const token = await t.enrollmentToken();
    const key = await createDeviceKey();
    const body = await registrationOf(t.deps, key, token);
    expect((await sendAssertion(t.app, body.proof)).status).toBe(401);
    const now = seconds(t.clock.now());
    const proof = await sign(key, {
      ...decodeJwt(body.proof),
      iss: device.id,
      sub: device.id,
      exp: now + 60,
    });
    expect((await t.app.request('/v1/devices', jsonRequest('POST', { ...body, proof }))).status).toBe(400);
  });

  it('names what is wrong with the form as RFC 6749 does', async () => {
    const client_assertion = await assertionOf();
    const good = { grant_type: 'client_credentials', client_assertion_type: JWT_BEARER, client_assertion };
    expect(await sendForm(new URLSearchParams({ ...good, grant_type: 'password' }))).toMatchObject({
      status: 400,
      body: { error: 'unsupported_grant_type', code: 'unsupported_grant_type' },
    });
    const twice = `${new URLSearchParams(good)}&grant_type=client_credentials`;
    for (const form of ['', 'grant_type=client_credentials', twice]) {
      expect(await sendForm(form)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    }
    const otherType = new URLSearchParams({ ...good, client_assertion_type: 'saml' });
    expect(await sendForm(otherType)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    const otherClient = new URLSearchParams({ ...good, client_id: 'someone' });
    expect(await sendForm(otherClient)).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    expect(await sendForm(new URLSearchParams({ ...good, client_id: device.id }))).toMatchObject({
      status: 200,
    });
  });

  it('refuses a form over 16 KiB before it reads it', async () => {
    expect(await sendForm('', { 'content-length': '16385' })).toMatchObject({
      status: 413,
      body: { error: 'invalid_request', code: 'too_large' },
    });
    expect(await sendForm('', { 'transfer-encoding': 'chunked' })).toMatchObject({
      status: 411,
      body: { error: 'invalid_request', code: 'length_required' },
    });
  });
});

describe('what OAuth libraries look up', () => {
  it('names the token endpoint and the algorithms', async () => {
    const response = await t.app.request('/.well-known/oauth-authorization-server');
    expect(response.headers.get('cache-control')).toContain('max-age');
    expect(await answerOf(response)).toMatchObject({
      status: 200,
      body: {
        issuer: t.deps.publicUrl,
        token_endpoint: `${t.deps.publicUrl}/v1/token`,
        jwks_uri: `${t.deps.publicUrl}/.well-known/jwks.json`,
        grant_types_supported: ['client_credentials'],
        token_endpoint_auth_methods_supported: ['private_key_jwt'],
      },
    });
  });

  it('publishes no private part of a key', async () => {
    const { body } = await answerOf(t.app.request('/.well-known/jwks.json'));
    const keys = body.keys as JWK[];
    expect(keys).toHaveLength(1);
    for (const key of keys) {
      expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
    }
  });
});

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
