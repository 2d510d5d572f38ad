import { randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../support/answers.ts';
import { createTestApp, jsonRequest, registrationOf, requestToken, type TestApp } from '../support/app.ts';
import { createDeviceKey, type DeviceKey, seconds, sign } from '../support/device-keys.ts';
import { createFederation } from '../support/federations.ts';

const DAY_MS = 86_400_000;
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

async function usesOf(name: string): Promise<unknown> {
  const { body } = await answerOf(t.app.request('/v1/enrollment-tokens?limit=200', { headers: operator }));
  return (body.items as { name: string; uses: number }[]).find((token) => token.name === name)?.uses;
}

async function countDevices(): Promise<number> {
  const { body } = await answerOf(t.app.request('/v1/devices?limit=200', { headers: operator }));
  return (body.items as unknown[]).length;
}

describe('enrolment tokens', () => {
  it('shows the secret once and lists the token without it', async () => {
    const created = await answerOf(
      t.app.request(
        '/v1/enrollment-tokens',
        jsonRequest(
          'POST',
          { name: 'once', labels: { site: 'a' }, maxUses: 3, expiresInSeconds: 60 },
          operator,
        ),
      ),
    );
    expect(created).toMatchObject({
      status: 201,
      body: {
        token: expect.stringMatching(/^fedenr_[\w-]{43}$/),
        name: 'once',
        labels: { site: 'a' },
        maxUses: 3,
        uses: 0,
        requiresApproval: false,
        expiresAt: new Date(t.clock.now().getTime() + 60_000).toISOString(),
      },
    });
    const listed = await t.app.request('/v1/enrollment-tokens', { headers: await t.operator('viewer') });
    const text = await listed.text();
    expect(text).toContain(created.body.id);
    expect(text).not.toContain(created.body.token);
  });

  it('keeps no secret in the database', async () => {
    const secret = await t.enrollmentToken();
    const rows = await t.deps.db.client`select * from enrollment_tokens`;
    expect(JSON.stringify(rows)).not.toContain(secret.slice('fedenr_'.length));
  });

  it('lets operators alone create and revoke', async () => {
    for (const role of ['viewer', 'releaser'] as const) {
      const headers = await t.operator(role);
      const created = t.app.request('/v1/enrollment-tokens', jsonRequest('POST', { name: 'x' }, headers));
      expect(await answerOf(created)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
      const revoked = t.app.request(`/v1/enrollment-tokens/${randomUUID()}`, { method: 'DELETE', headers });
      expect(await answerOf(revoked)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    }
  });

  it('refuses devices after it was revoked, repeats to revoke being harmless', async () => {
    const created = await answerOf(
      t.app.request('/v1/enrollment-tokens', jsonRequest('POST', { name: 'gone' }, operator)),
    );
    const path = `/v1/enrollment-tokens/${created.body.id}`;
    const foreign = await createFederation(t.deps, 'revoker');
    expect(await answerOf(t.app.request(path, { method: 'DELETE', headers: foreign.headers }))).toMatchObject(
      {
        status: 404,
        body: { code: 'not_found' },
      },
    );
    for (let repeat = 0; repeat < 2; repeat++) {
      expect((await t.app.request(path, { method: 'DELETE', headers: operator })).status).toBe(204);
    }
    const body = await registrationOf(t.deps, await createDeviceKey(), created.body.token as string);
    expect(await register(body)).toMatchObject({ status: 403, body: { code: 'enrollment_token_invalid' } });
  });
});

describe('registration', () => {
  it.each(['ES256', 'EdDSA'] as const)(
    'takes an %s key and gives it the labels of the token',
    async (algorithm) => {
      const device = await t.enrolDevice({
        algorithm,
        name: `with ${algorithm}`,
        properties: { memoryMb: 512, models: ['mnist'] },
        token: { labels: { site: 'berlin' } },
      });
      expect(await answerOf(t.app.request('/v1/devices/me', { headers: device.headers }))).toMatchObject({
        status: 200,
        body: {
          id: device.id,
          name: `with ${algorithm}`,
          state: 'active',
          labels: { site: 'berlin' },
          properties: { memoryMb: 512, models: ['mnist'] },
        },
      });
    },
  );

  it('gives the first answer again to the same bytes, whatever has become of the token', async () => {
    const created = await answerOf(
      t.app.request('/v1/enrollment-tokens', jsonRequest('POST', { name: 'lost answer' }, operator)),
    );
    const body = await registrationOf(t.deps, await createDeviceKey(), created.body.token as string);
    const first = await register(body);
    expect(first.status).toBe(201);
    const devices = await countDevices();

    expect(await register(body)).toEqual({ status: 200, body: first.body });
    await t.app.request(`/v1/enrollment-tokens/${created.body.id}`, { method: 'DELETE', headers: operator });
    t.clock.advance(2 * DAY_MS);
    expect(await register(body)).toEqual({ status: 200, body: first.body });
    expect(await usesOf('lost answer')).toBe(1);
    expect(await countDevices()).toBe(devices);
  });

  it('gives the first answer again after the device was renamed and approved', async () => {
    const token = await t.enrollmentToken({ requiresApproval: true });
    const body = await registrationOf(t.deps, await createDeviceKey(), token);
    const first = await register(body);
    expect(first.body.state).toBe('pending');
    const path = `/v1/devices/${first.body.id}`;
    await t.app.request(path, jsonRequest('PATCH', { name: 'other' }, operator));
    await t.app.request(`${path}/approve`, { method: 'POST', headers: operator });
    expect(await register(body)).toEqual({ status: 200, body: first.body });
  });

  it('gives a single-use token to exactly one of eight rivals on two replicas', async () => {
    const other = await t.replica();
    const token = await t.enrollmentToken({ name: 'rivals', maxUses: 1 });
    const bodies = await Promise.all(
      Array.from({ length: 8 }, async () => registrationOf(t.deps, await createDeviceKey(), token)),
    );
    const answers = await Promise.all(bodies.map((body, i) => register(body, i % 2 ? other.app : t.app)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(403)]);
    const refused = answers.filter(({ status }) => status === 403);
    expect(new Set(refused.map(({ body }) => body.code))).toEqual(new Set(['enrollment_token_used_up']));
    expect(await usesOf('rivals')).toBe(1);
  });

  it('makes one device of eight registrations of one key at once', async () => {
    const other = await t.replica();
    const token = await t.enrollmentToken({ name: 'impatient', maxUses: 5 });
    const key = await createDeviceKey();
    const before = await countDevices();
    const bodies = await Promise.all(Array.from({ length: 8 }, () => registrationOf(t.deps, key, token)));
    const answers = await Promise.all(bodies.map((body, i) => register(body, i % 2 ? other.app : t.app)));
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(7).fill(200), 201]);
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(await usesOf('impatient')).toBe(1);
    expect(await countDevices()).toBe(before + 1);
  });

  it('tells an expired token from an unknown one', async () => {
    const token = await t.enrollmentToken({ expiresInSeconds: 60 });
    t.clock.advance(61_000);
    const expired = await registrationOf(t.deps, await createDeviceKey(), token);
    expect(await register(expired)).toMatchObject({
      status: 403,
      body: { code: 'enrollment_token_expired' },
    });
    const unknown = await registrationOf(t.deps, await createDeviceKey(), `fedenr_${'A'.repeat(43)}`);
    expect(await register(unknown)).toMatchObject({
      status: 403,
      body: { code: 'enrollment_token_invalid' },
    });
  });

  it('refuses a key that is enrolled with another token', async () => {
    const device = await t.enrolDevice();
    const body = await registrationOf(t.deps, device.key, await t.enrollmentToken());
    expect(await register(body)).toMatchObject({ status: 403, body: { code: 'key_refused' } });
  });

  it('refuses the key of a revoked device for ever, with its own token and with a new one', async () => {
    const token = await t.enrollmentToken();
    const key = await createDeviceKey('EdDSA');
    const first = await register(await registrationOf(t.deps, key, token));
    await t.app.request(`/v1/devices/${first.body.id}/revoke`, { method: 'POST', headers: operator });
    for (const next of [token, await t.enrollmentToken()]) {
      const body = await registrationOf(t.deps, key, next);
      expect(await register(body)).toMatchObject({ status: 403, body: { code: 'key_refused' } });
    }
  });

  it('refuses a revoked key that comes back in another encoding', async () => {
    const device = await t.enrolDevice();
    await t.app.request(`/v1/devices/${device.id}/revoke`, { method: 'POST', headers: operator });
    const body = await registrationOf(t.deps, device.key, await t.enrollmentToken());
    const x = sameBytes(device.key.jwk.x!);
    expect(Buffer.from(x, 'base64url')).toEqual(Buffer.from(device.key.jwk.x!, 'base64url'));
    for (const encoded of [x, `${device.key.jwk.x}=`]) {
      const answer = await register({ ...body, key: { ...device.key.jwk, x: encoded } });
      expect(answer).toMatchObject({ status: 400, body: { code: 'invalid_key' } });
    }
  });
});

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

/** The same 32 bytes in base64url with other padding bits: 43 characters carry two bits too many. */
function sameBytes(coordinate: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(coordinate.at(-1)!);
  return coordinate.slice(0, -1) + alphabet[last ^ 1];
}
