import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import { createTestApp, jsonRequest, registrationOf, type TestApp } from '../../support/app.ts';
import { createDeviceKey } from '../../support/identity/device-keys.ts';
import { createFederation } from '../../support/identity/federations.ts';

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

/** The same 32 bytes in base64url with other padding bits: 43 characters carry two bits too many. */
function sameBytes(coordinate: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(coordinate.at(-1)!);
  return coordinate.slice(0, -1) + alphabet[last ^ 1];
}
