import { decodeJwt, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  registrationOf,
  requestToken,
  type TestApp,
} from '../../support/app.ts';
import { createDeviceKey, type DeviceKey, seconds, sign } from '../../support/identity/device-keys.ts';
import { createFederation } from '../../support/identity/federations.ts';

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

function me(token: string) {
  return answerOf(t.app.request('/v1/devices/me', { headers: { authorization: `Bearer ${token}` } }));
}

describe('access tokens', () => {
  const claims = (changes: Record<string, unknown> = {}) => {
    const iat = seconds(t.clock.now());
    return {
      iss: t.deps.publicUrl,
      aud: t.deps.publicUrl,
      sub: device.id,
      client_id: device.id,
      iat,
      exp: iat + 600,
      jti: 'made-by-hand',
      federation: 'default',
      cnf: { jkt: device.key.thumbprint },
      ...changes,
    };
  };
  const forge = (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) => {
    const { kid, key } = t.deps.keys.signing;
    return sign({ algorithm: 'ES256', privateKey: key }, claims(changes), { typ: 'at+jwt', kid, ...header });
  };

  it('are taken as we make them', async () => {
    expect(await me(await forge())).toMatchObject({ status: 200, body: { id: device.id } });
  });

  it.each([
    ['another issuer', { iss: 'https://other.test' }],
    ['another audience', { aud: 'https://other.test' }],
    ['another federation', { federation: 'other' }],
    ['another device', { sub: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' }],
    ['a key that we do not know', { cnf: { jkt: 'A'.repeat(43) } }],
    ['no key', { cnf: undefined }],
    ['a key that is no string', { cnf: { jkt: 7 } }],
    ['no jti', { jti: undefined }],
    ['no expiry', { exp: undefined }],
    ['no federation', { federation: undefined }],
  ])('are refused for %s', async (_, changes) => {
    expect(await me(await forge(changes))).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  it.each([
    ['another typ', { typ: 'JWT' }],
    ['no typ', { typ: undefined }],
    ['no kid', { kid: undefined }],
    ['a kid that is not ours', { kid: 'other' }],
  ])('are refused for %s', async (_, header) => {
    expect(await me(await forge({}, header))).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  it('are refused from the future, and after their 10 minutes even if they claim more', async () => {
    const now = seconds(t.clock.now());
    const future = await forge({ iat: now + 60, exp: now + 660 });
    expect(await me(future)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    const expired = await forge({ iat: now - 700, exp: now - 100 });
    expect(await me(expired)).toMatchObject({ status: 401, body: { code: 'token_expired' } });
    const old = await forge({ iat: now - 700, exp: now + 3600 });
    expect(await me(old)).toMatchObject({ status: 401, body: { code: 'token_expired' } });
  });

  it('expire as the clock moves', async () => {
    const headers = await device.renew();
    const token = headers.authorization.slice('Bearer '.length);
    t.clock.advance(599_000);
    expect((await me(token)).status).toBe(200);
    t.clock.advance(7_000);
    expect(await me(token)).toMatchObject({ status: 401, body: { code: 'token_expired' } });
  });

  it('are refused as soon as their key is not ours any more, although they were taken a moment ago', async () => {
    const token = await forge();
    const { keys } = t.deps;
    const { verifying } = keys;
    expect((await me(token)).status).toBe(200);
    const { publicKey } = await generateKeyPair('ES256');
    for (const other of [new Map(), new Map([[keys.signing.kid, publicKey]])]) {
      Object.assign(keys, { verifying: other });
      expect(await me(token)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    }
    Object.assign(keys, { verifying });
    expect((await me(token)).status).toBe(200);
  });

  it('need our signature, whatever key they bring', async () => {
    const { kid } = t.deps.keys.signing;
    const stranger = await createDeviceKey();
    const header = { typ: 'at+jwt', kid };
    const embedded = await sign(stranger, claims(), {
      ...header,
      jwk: stranger.jwk,
      jku: 'https://other.test/jwks.json',
    });
    const none = `${encode({ alg: 'none', ...header })}.${encode(claims())}.`;
    const [published] = t.deps.keys.jwks.keys;
    const secret = await new SignJWT(claims())
      .setProtectedHeader({ alg: 'HS256', ...header })
      .sign(Buffer.from(JSON.stringify(published)));
    const { privateKey } = await generateKeyPair('EdDSA');
    const otherAlgorithm = await sign({ algorithm: 'EdDSA', privateKey }, claims(), header);
    const good = await forge();
    const unsigned = good.slice(0, good.lastIndexOf('.') + 1);
    const own = await sign(device.key, claims(), header);
    const critical = await new SignJWT(claims())
      .setProtectedHeader({ alg: 'ES256', ...header, crit: ['newer'], newer: 1 })
      .sign(t.deps.keys.signing.key, { crit: { newer: true } });
    for (const token of [embedded, none, secret, otherAlgorithm, unsigned, own, critical, 'a.b.c']) {
      expect(await me(token)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    }
  });

  it('are refused over 4 KiB before they are looked at', async () => {
    const padded = (size: number) => forge({ padding: 'x'.repeat(size) });
    const small = await padded(2000);
    expect(small.length).toBeLessThan(4096);
    expect((await me(small)).status).toBe(200);
    const large = await padded(3000);
    expect(large.length).toBeGreaterThan(4096);
    expect(await me(large)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });

  it('are taken by no operation of operators, nor operator keys by those of devices', async () => {
    const headers = { authorization: `Bearer ${await forge()}` };
    expect(await answerOf(t.app.request('/v1/devices', { headers }))).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
    const operator = await t.operator();
    expect(await answerOf(t.app.request('/v1/devices/me', { headers: operator }))).toMatchObject({
      status: 403,
      body: { code: 'forbidden' },
    });
  });

  it.each(['', 'Bearer', 'Bearer ', 'Basic dXNlcjpwYXNz', 'Bearer a b', 'Token x'])(
    'are asked for by "%s"',
    async (authorization) => {
      const response = await t.app.request('/v1/devices/me', { headers: { authorization } });
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
      expect(await answerOf(response)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
    },
  );

  it('of another federation show only that one', async () => {
    const foreign = await createFederation(t.deps, 'tokens');
    const key = await createDeviceKey();
    const body = await registrationOf(t.deps, key, foreign.enrollmentToken);
    const registered = await answerOf(t.app.request('/v1/devices', jsonRequest('POST', body)));
    const id = registered.body.id as string;
    const issued = await ask({}, { id, key });
    expect(decodeJwt(issued.body.access_token as string)).toMatchObject({ federation: 'tokens', sub: id });
    expect(await me(issued.body.access_token as string)).toMatchObject({ status: 200, body: { id } });
    // The right device and key under the wrong federation's name.
    const claimed = await forge({ sub: id, client_id: id, cnf: { jkt: key.thumbprint } });
    expect(await me(claimed)).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
  });
});

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
