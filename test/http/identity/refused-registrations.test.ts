import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import { createTestApp, jsonRequest, registrationOf, requestToken, type TestApp } from '../../support/app.ts';
import { createDeviceKey, type DeviceKey, seconds, sign } from '../../support/identity/device-keys.ts';

let t: TestApp;
let operator: Record<string, string>;

beforeAll(async () => {
  t = await createTestApp();
  operator = await t.operator();
});
afterAll(() => t.close());

function register(body: unknown, app = t.app) {
  return answerOf(app.request('/v1/devices', jsonRequest('POST', body)));
}

describe('keys that are refused', () => {
  it.each([
    ['a point off the curve', 'invalid_key', (jwk: object) => ({ ...jwk, y: 'A'.repeat(43) })],
    ['a type without its curve', 'invalid_key', (jwk: object) => ({ ...jwk, crv: 'Ed25519' })],
    ['no y', 'invalid_key', ({ y: _, ...jwk }: Record<string, unknown>) => jwk],
    ['a short x', 'invalid_key', (jwk: object) => ({ ...jwk, x: 'AAAA' })],
    ['a private key', 'invalid_request', (jwk: object) => ({ ...jwk, d: 'A'.repeat(43) })],
    ['another curve', 'invalid_request', (jwk: object) => ({ ...jwk, crv: 'P-384' })],
  ])('%s', async (_, code, change) => {
    const body = await registrationOf(t.deps, await createDeviceKey(), await t.enrollmentToken());
    const key = change(body.key as Record<string, unknown>);
    expect(await register({ ...body, key })).toMatchObject({ status: 400, body: { code } });
  });
});

describe('proofs that are refused', () => {
  async function attempt(make: (key: DeviceKey, token: string) => Promise<string>) {
    const key = await createDeviceKey();
    const token = await t.enrollmentToken();
    const body = await registrationOf(t.deps, key, token);
    return register({ ...body, proof: await make(key, token) });
  }
  const claimsOf = (proof: string) => JSON.parse(Buffer.from(proof.split('.')[1]!, 'base64url').toString());
  const goodClaims = async (key: DeviceKey, token: string) =>
    claimsOf((await registrationOf(t.deps, key, token)).proof);
  const typ = { typ: 'fededge-proof+jwt' };

  it.each([
    ['another audience', { aud: 'https://other.test' }],
    ['no audience', { aud: undefined }],
    ['no jti', { jti: undefined }],
    ['an empty jti', { jti: '' }],
    ['a jti with NUL', { jti: `12345678${String.fromCharCode(0)}` }],
    ['no iat', { iat: undefined }],
    ['the hash of another token', { eth: 'A'.repeat(43) }],
    ['no token hash', { eth: undefined }],
  ])('%s', async (_, claims) => {
    const answer = await attempt(async (key, token) =>
      sign(key, { ...(await goodClaims(key, token)), ...claims }, typ),
    );
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_proof' } });
  });

  it.each([
    ['another typ', { typ: 'JWT' }],
    ['no typ', {}],
  ])('%s', async (_, header) => {
    const answer = await attempt(async (key, token) => sign(key, await goodClaims(key, token), header));
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_proof' } });
  });

  it('the signature of another key, though the proof brings that key', async () => {
    const answer = await attempt(async (key, token) => {
      const other = await createDeviceKey();
      return sign(other, await goodClaims(key, token), { ...typ, jwk: other.jwk });
    });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_proof' } });
  });

  it('no algorithm, or a secret one', async () => {
    const unsigned = await attempt(async (key, token) => {
      const header = Buffer.from(JSON.stringify({ alg: 'none', ...typ })).toString('base64url');
      const claims = Buffer.from(JSON.stringify(await goodClaims(key, token))).toString('base64url');
      return `${header}.${claims}.`;
    });
    expect(unsigned).toMatchObject({ status: 400, body: { code: 'invalid_proof' } });
    const secret = await attempt(async (key, token) =>
      new SignJWT(await goodClaims(key, token))
        .setProtectedHeader({ alg: 'HS256', ...typ })
        .sign(Buffer.from(JSON.stringify(key.jwk))),
    );
    expect(secret).toMatchObject({ status: 400, body: { code: 'invalid_proof' } });
  });

  it('a critical header that we do not know', async () => {
    const answer = await attempt(async (key, token) => {
      const jwt = new SignJWT(await goodClaims(key, token));
      jwt.setProtectedHeader({ alg: key.algorithm, ...typ, crit: ['newer'], newer: 1 });
      return jwt.sign(key.privateKey, { crit: { newer: true } });
    });
    expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_proof' } });
  });

  it.each([-301 - 5, 60])('an age of which the clock is off by %i s, with our time', async (offset) => {
    const answer = await attempt(async (key, token) =>
      sign(key, { ...(await goodClaims(key, token)), iat: seconds(t.clock.now()) + offset }, typ),
    );
    expect(answer).toMatchObject({
      status: 401,
      body: { code: 'clock_skew', serverTime: t.clock.now().toISOString() },
    });
  });
});

describe('bounds', () => {
  it.each([
    ['a name with a line break', { name: 'a\nb' }],
    ['a name with NUL', { name: `a${String.fromCharCode(0)}` }],
    ['half a surrogate', { properties: { software: '\ud800' } }],
    ['an unknown property', { properties: { shoeSize: 43 } }],
    ['a charge above 1', { properties: { battery: 1.5 } }],
    ['too many models', { properties: { models: Array(257).fill('m') } }],
    ['a proof over 4 KiB', { proof: 'a'.repeat(4097) }],
  ])('%s', async (_, change) => {
    const body = await registrationOf(t.deps, await createDeviceKey(), await t.enrollmentToken());
    expect(await register({ ...body, ...change })).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
  });

  it('lets the pending device neither get a token nor be approved by a viewer', async () => {
    const key = await createDeviceKey();
    const token = await t.enrollmentToken({ requiresApproval: true });
    const { body } = await register(await registrationOf(t.deps, key, token));
    const device = { id: body.id as string, key };
    const approve = async (headers: Record<string, string>) =>
      answerOf(t.app.request(`/v1/devices/${body.id}/approve`, { method: 'POST', headers }));
    expect(await answerOf(requestToken(t.app, t.deps, device))).toMatchObject({
      status: 401,
      body: { error: 'invalid_client', code: 'device_pending' },
    });
    expect(await approve(await t.operator('viewer'))).toMatchObject({ status: 403 });
    expect(await approve(operator)).toMatchObject({ status: 200, body: { state: 'active' } });
    expect(await approve(operator)).toMatchObject({ status: 200, body: { state: 'active' } });
    expect((await requestToken(t.app, t.deps, device)).status).toBe(200);
  });
});
