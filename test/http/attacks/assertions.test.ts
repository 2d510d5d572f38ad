import { createHmac, createPublicKey, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
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
import { createDeviceKey, type DeviceKey, seconds, sign } from '../../support/identity/device-keys.ts';
import { createFederation } from '../../support/identity/federations.ts';
import {
  part,
  respell,
  signText,
  tamper,
  twinSignature,
  withSignature,
} from '../../support/identity/forgeries.ts';

/* What must not get an access token at POST /v1/token (RFC 7523 section 3). */

let t: TestApp;
let device: EnrolledDevice;

beforeAll(async () => {
  t = await createTestApp();
  device = await t.enrolDevice();
});
afterAll(() => t?.close());

const now = () => seconds(t.clock.now());
const claims = (changes: Record<string, unknown> = {}) => ({
  iss: device.id,
  sub: device.id,
  aud: `${t.deps.publicUrl}/v1/token`,
  iat: now(),
  exp: now() + 60,
  jti: randomUUID(),
  ...changes,
});
const forge = (
  wrong: Record<string, unknown> = {},
  head: Record<string, unknown> = {},
  key: DeviceKey = device.key,
) => signText(key.privateKey, JSON.stringify({ alg: 'ES256', ...head }), JSON.stringify(claims(wrong)));
const send = (assertion: string) => answerOf(sendAssertion(t.app, assertion));
const refused = { status: 401, body: { error: 'invalid_client', code: 'invalid_client' } };

it('takes what the attacks are made from, typed as libraries do', async () => {
  for (const typ of [undefined, 'JWT', 'jwt', 'client-authentication+jwt']) {
    expect((await send(await forge({}, { typ }))).status).toBe(200);
  }
});

describe("assertions with an algorithm that is not the key's", () => {
  it.each(['none', 'None', 'NONE', 'nOnE', '', 'es256', 'ES384', 'RS256', 'EdDSA', 'Ed25519'])(
    '"%s" (CVE-2015-9235, RFC 8725 3.1)',
    async (alg) => {
      expect(await send(`${part({ alg })}.${part(claims())}.`)).toMatchObject(refused);
      expect(await send(`${part({ alg })}.${part(claims())}.AA`)).toMatchObject(refused);
      expect(await send(tamper(await forge(), { alg }))).toMatchObject(refused);
    },
  );

  it('HS256 with the public key as the secret (CVE-2016-10555)', async () => {
    const key = createPublicKey({ key: device.key.jwk as never, format: 'jwk' });
    for (const secret of [JSON.stringify(device.key.jwk), key.export({ type: 'spki', format: 'pem' }), '']) {
      const input = `${part({ alg: 'HS256' })}.${part(claims())}`;
      const mac = createHmac('sha256', secret).update(input).digest('base64url');
      expect(await send(`${input}.${mac}`)).toMatchObject(refused);
    }
  });
});

describe('assertions with a signature that proves nothing', () => {
  it('64 zeros (CVE-2022-21449)', async () => {
    expect(await send(withSignature(await forge(), Buffer.alloc(64)))).toMatchObject(refused);
  });

  it('of 64 zeros by Ed25519, or by its key of small order (RFC 8032 5.1.7)', async () => {
    const edwards = await t.enrolDevice({ algorithm: 'EdDSA' });
    const good = await sign(edwards.key, claims({ iss: edwards.id, sub: edwards.id }));
    expect(await send(withSignature(good, Buffer.alloc(64)))).toMatchObject(refused);
    const identity = Buffer.alloc(64);
    identity[0] = 1;
    expect(await send(withSignature(good, identity))).toMatchObject(refused);
    expect((await send(good)).status).toBe(200);
  });

  it.each([
    ['jwk (CVE-2018-0114)', (key: DeviceKey) => ({ jwk: key.jwk })],
    [
      'jwk and its thumbprint as kid (CVE-2018-0114, RFC 7515 4.1.3)',
      (key: DeviceKey) => ({ jwk: key.jwk, kid: key.thumbprint }),
    ],
    ['jku (RFC 8725 3.10)', () => ({ jku: 'https://evil.test/jwks.json' })],
    ['x5u (RFC 8725 3.10)', () => ({ x5u: 'https://evil.test/cert.pem' })],
    ['x5c (RFC 8725 3.10)', () => ({ x5c: ['MIIB'] })],
    ['kid of the registered key (RFC 7515 4.1.4)', () => ({ kid: device.key.thumbprint })],
  ])('by a stranger who brings %s', async (_, head) => {
    const stranger = await createDeviceKey();
    expect(await send(await forge({}, head(stranger), stranger))).toMatchObject(refused);
  });

  it('by another device of the same federation (CWE-639)', async () => {
    const other = await t.enrolDevice();
    expect(await send(await forge({}, {}, other.key))).toMatchObject(refused);
  });

  it('by a device of another federation (CWE-639)', async () => {
    const foreign = await createFederation(t.deps, 'assertions');
    const key = await createDeviceKey();
    const body = await registrationOf(t.deps, key, foreign.enrollmentToken);
    expect((await t.app.request('/v1/devices', jsonRequest('POST', body))).status).toBe(201);
    expect(await send(await forge({}, {}, key))).toMatchObject(refused);
  });
});

describe('assertions in another spelling', () => {
  it.each(respell('AAAA.BBBB.CCCC').map(([name]) => name))('%s', async (name) => {
    let assertion = await forge();
    while (!/[-_]/.test(assertion)) assertion = await forge();
    expect(await send(new Map(respell(assertion)).get(name)!)).toMatchObject(refused);
  });

  it('a claim twice (RFC 7519 4)', async () => {
    const text = JSON.stringify(claims());
    const twice = `${text.slice(0, -1)},"sub":${JSON.stringify(device.id)}}`;
    expect(await send(await signText(device.key.privateKey, '{"alg":"ES256"}', twice))).toMatchObject(
      refused,
    );
  });

  it('4,097 characters (CWE-400)', async () => {
    expect(await send(await forge({ padding: 'x'.repeat(4097) }))).toMatchObject(refused);
  });
});

describe('assertions with a header that asks for', () => {
  it.each([
    ['a critical extension (RFC 7515 4.1.11)', { crit: ['newer'], newer: 1 }],
    ['a payload that is not encoded (RFC 7797 6)', { crit: ['b64'], b64: false }],
    ['the type of access tokens (RFC 8725 3.11)', { typ: 'at+jwt' }],
    ['the type of proofs (RFC 8725 3.11)', { typ: 'fededge-proof+jwt' }],
    ['a type that is no string (RFC 7515 4.1.9)', { typ: ['JWT'] }],
  ])('%s', async (_, head) => expect(await send(await forge({}, head))).toMatchObject(refused));
});

describe('assertions with claims that', () => {
  it.each<[string, () => Record<string, unknown>]>([
    ['name an audience that begins like us (RFC 8725 3.9)', () => ({ aud: `${t.deps.publicUrl}.evil.test` })],
    ['name another path of ours (RFC 7523 3 item 3)', () => ({ aud: `${t.deps.publicUrl}/v1/tokens` })],
    ['name others in a list of audiences (RFC 7523 3 item 3)', () => ({ aud: ['https://a.test'] })],
    ['name another subject than issuer (RFC 7523 3 item 2)', () => ({ sub: randomUUID() })],
    ['lack the subject (RFC 7523 3 item 2)', () => ({ sub: undefined })],
    ['lack the issuer (RFC 7523 3 item 1)', () => ({ iss: undefined })],
    ['lack the audience (RFC 7523 3 item 3)', () => ({ aud: undefined })],
    ['lack the expiry (RFC 7523 3 item 4)', () => ({ exp: undefined })],
    ['lack the time of issue (RFC 7523 3 item 6)', () => ({ iat: undefined })],
    ['lack the jti (RFC 7523 3 item 7)', () => ({ jti: undefined })],
    ['have an empty jti (NVIDIA FLARE: an empty nonce)', () => ({ jti: '' })],
    ['have NUL in the jti (CWE-158)', () => ({ jti: 'aaaaaaaa\0' })],
    ['have a jti of 129 characters (CWE-400)', () => ({ jti: 'j'.repeat(129) })],
    ['have a jti that is no string (RFC 7519 4.1.7)', () => ({ jti: [randomUUID()] })],
    ['expire before they were issued (RFC 7519 4.1.4)', () => ({ exp: now() - 1, iat: now() })],
    ['hold for longer than 10 minutes (RFC 7523 3 item 4)', () => ({ exp: now() + 601 })],
    ['expire at infinity (RFC 8259 6)', () => ({ exp: 1e308 })],
    ['name an issuer of SQL (CWE-89)', () => ({ iss: "' or 1=1 --" })],
    [
      'name a device that is not there (RFC 6749 5.2: an unknown client)',
      () => {
        const nobody = randomUUID();
        return { iss: nobody, sub: nobody };
      },
    ],
    ['name another issuer than the subject (RFC 7523 3 item 2)', () => ({ iss: randomUUID() })],
  ])('%s', async (_, wrong) => {
    expect(await send(await forge(wrong()))).toMatchObject(refused);
  });
});

describe('assertions that were good', () => {
  it('once more (RFC 7523 3 item 7)', async () => {
    const assertion = await forge();
    expect((await send(assertion)).status).toBe(200);
    expect(await send(assertion)).toMatchObject(refused);
  });

  it('once more with the twin of its signature (BIP 62, ECDSA malleability)', async () => {
    const assertion = await forge();
    expect((await send(assertion)).status).toBe(200);
    expect(await send(twinSignature(assertion))).toMatchObject(refused);
  });

  it('by a key that was replaced, or by a next key that gave way to another (RFC 7517 5)', async () => {
    const rotating = await t.enrolDevice();
    const [second, third] = [await createDeviceKey(), await createDeviceKey()];
    const rotate = async (key: DeviceKey) => {
      const statement = async (by: DeviceKey) =>
        sign(
          by,
          { aud: t.deps.publicUrl, iat: now(), jti: randomUUID(), sub: rotating.id, jkt: key.thumbprint },
          { typ: 'fededge-proof+jwt' },
        );
      const body = { key: key.jwk, proof: await statement(rotating.key), possession: await statement(key) };
      return t.app.request('/v1/devices/me/key', jsonRequest('POST', body, rotating.headers));
    };
    const ask = (key: DeviceKey) => answerOf(requestToken(t.app, t.deps, { id: rotating.id, key }));
    expect((await rotate(second)).status).toBe(200);
    expect((await rotate(third)).status).toBe(200);
    expect(await ask(second)).toMatchObject(refused);
    expect((await ask(third)).status).toBe(200);
    expect(await ask(rotating.key)).toMatchObject(refused);
  });

  it('by a device that is revoked, whose token dies with it (RFC 7009 2.1)', async () => {
    const revoked = await t.enrolDevice();
    const post = { method: 'POST', headers: await t.operator() };
    await t.app.request(`/v1/devices/${revoked.id}/revoke`, post);
    expect((await requestToken(t.app, t.deps, revoked)).status).toBe(401);
    await vi.waitFor(async () =>
      expect((await t.app.request('/v1/devices/me', { headers: revoked.headers })).status).toBe(401),
    );
  });
});

describe('other credentials as assertions (RFC 8725 3.12)', () => {
  it('an access token', async () => {
    const token = device.headers.authorization.slice('Bearer '.length);
    expect(await send(token)).toMatchObject(refused);
  });

  it('proofs of registration and of rotation, whatever else they claim', async () => {
    const proof = { ...claims({ aud: t.deps.publicUrl }), eth: 'A'.repeat(43), jkt: device.key.thumbprint };
    expect(await send(await sign(device.key, proof, { typ: 'fededge-proof+jwt' }))).toMatchObject(refused);
    const { iss: _, ...rotation } = proof;
    expect(await send(await sign(device.key, rotation, { typ: 'fededge-proof+jwt' }))).toMatchObject(refused);
  });
});

it('tells nobody without the key which devices there are (CWE-204)', async () => {
  const stranger = await createDeviceKey();
  const edwards = await createDeviceKey('EdDSA');
  const nobody = randomUUID();
  const tell = async (id: string, key: DeviceKey, wrong: Record<string, unknown>) =>
    send(await sign(key, claims({ iss: id, sub: id, ...wrong })));
  for (const wrong of [{}, { exp: now() - 100, iat: now() - 160 }, { aud: 'x' }, { jti: '' }]) {
    for (const key of [stranger, edwards]) {
      expect(await tell(device.id, key, wrong)).toEqual(await tell(nobody, key, wrong));
    }
  }
});
