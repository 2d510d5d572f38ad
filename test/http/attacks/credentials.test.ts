import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashSecret } from '../../../api/services/identity/secrets.ts';
import { answerOf } from '../../support/answers.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  sendAssertion,
  type TestApp,
} from '../../support/app.ts';
import { signAssertion, signProof } from '../../support/identity/device-keys.ts';
import { createFederation } from '../../support/identity/federations.ts';

let t: TestApp;
let device: EnrolledDevice;

beforeAll(async () => {
  t = await createTestApp();
  device = await t.enrolDevice();
});
afterAll(() => t?.close());

async function statusOf(token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  return (await t.app.request('/v1/devices/me', { headers })).status;
}

describe('credentials of one kind in the place of another', () => {
  it('an assertion as an access token (RFC 8725 3.12)', async () => {
    const assertion = await signAssertion(device.key, {
      aud: t.deps.publicUrl,
      deviceId: device.id,
      now: t.clock.now(),
    });
    expect(await statusOf(assertion)).toBe(401);
  });

  it('a proof as an access token (RFC 8725 3.12)', async () => {
    const proof = await signProof(device.key, {
      aud: t.deps.publicUrl,
      now: t.clock.now(),
      enrollmentToken: 'x',
    });
    expect(await statusOf(proof)).toBe(401);
  });

  it('an enrolment token as an access token (CWE-287)', async () => {
    expect(await statusOf(await t.enrollmentToken())).toBe(401);
  });

  it('a self-made session that names who we are (NVIDIA FLARE: tokens looked up, not verified)', async () => {
    expect(await statusOf(device.id)).toBe(401);
    expect(await statusOf(device.key.thumbprint)).toBe(401);
  });
});

describe('access tokens that were good', () => {
  it('of a device whose rows are gone (OWASP API2:2023)', async () => {
    const gone = await t.enrolDevice();
    const { client } = t.deps.db;
    expect((await t.app.request('/v1/devices/me', { headers: gone.headers })).status).toBe(200);
    await client`delete from device_keys where device_id = ${gone.id}`;
    await client`delete from devices where id = ${gone.id}`;
    t.clock.advance(15_000);
    expect((await t.app.request('/v1/devices/me', { headers: gone.headers })).status).toBe(401);
    t.clock.advance(-15_000);
  });

  it('bound to a key that was replaced (RFC 7800 3)', async () => {
    const rotating = await t.enrolDevice();
    await t.deps.db.client`update device_keys set state = 'replaced' where device_id = ${rotating.id}`;
    const { headers } = rotating;
    t.clock.advance(15_000);
    expect((await t.app.request('/v1/devices/me', { headers })).status).toBe(401);
    t.clock.advance(-15_000);
  });

  it('of an operator of another federation, at objects of this one (CWE-639)', async () => {
    const foreign = await createFederation(t.deps, 'attackers');
    const answer = await answerOf(t.app.request(`/v1/devices/${device.id}`, { headers: foreign.headers }));
    expect(answer).toMatchObject({ status: 404, body: { code: 'not_found' } });
    const body = { labels: { mine: 'now' } };
    const patch = jsonRequest('PATCH', body, foreign.headers);
    expect((await t.app.request(`/v1/devices/${device.id}`, patch)).status).toBe(404);
  });
});

describe('operator keys', () => {
  const list = async (key: string) =>
    (await t.app.request('/v1/devices', { headers: { authorization: `Bearer ${key}` } })).status;

  it('are looked up by their SHA-256: how long it takes tells nothing of a key (CWE-208)', async () => {
    const key = (await t.operator()).authorization.slice('Bearer '.length);
    expect(await list(key)).toBe(200);
    const rows = await t.deps.db.client`select secret_hash from operator_keys`;
    expect(rows.map(({ secret_hash }) => secret_hash)).toContain(hashSecret(key));
    expect(JSON.stringify(rows)).not.toContain(key.slice(6));
    // Neither what is stored nor all but one character of the key opens anything.
    expect(await list(`fedop_${hashSecret(key).slice(0, 43)}`)).toBe(401);
    expect(await list(key.slice(0, -1) + (key.endsWith('A') ? 'B' : 'A'))).toBe(401);
  });

  it.each([
    ['with a space after it (RFC 9110 5.5)', (key: string) => `${key} `],
    ['in upper case (CWE-178)', (key: string) => key.toUpperCase()],
    ['with a character more (CWE-187)', (key: string) => `${key}A`],
    ['with % for the last character (CWE-89)', (key: string) => `${key.slice(0, -1)}%`],
    ['without its prefix (CWE-187)', (key: string) => key.slice('fedop_'.length)],
    ['twice (CWE-187)', (key: string) => `${key}${key}`],
  ])('%s are none', async (name, change) => {
    const key = (await t.operator()).authorization.slice('Bearer '.length);
    // A header's value has no space at its end: that one is the key itself.
    expect(await list(change(key))).toBe(name.includes('space') ? 200 : 401);
  });

  it('that are revoked open nothing on the replica that revoked them (OWASP API2:2023)', async () => {
    const operator = await t.operator();
    const made = await answerOf(
      t.app.request('/v1/operator-keys', jsonRequest('POST', { name: 'x', role: 'operator' }, operator)),
    );
    const key = made.body.key as string;
    expect(await list(key)).toBe(200);
    const gone = { method: 'DELETE', headers: operator };
    expect((await t.app.request(`/v1/operator-keys/${made.body.id}`, gone)).status).toBe(204);
    t.clock.advance(15_000);
    expect(await list(key)).toBe(401);
    t.clock.advance(-15_000);
  });

  it('of a viewer make no key, and no change makes it more than a viewer (OWASP API5:2023)', async () => {
    const viewer = await t.operator('viewer');
    const operator = await t.operator();
    const made = await answerOf(
      t.app.request('/v1/operator-keys', jsonRequest('POST', { name: 'v', role: 'viewer' }, operator)),
    );
    const create = jsonRequest('POST', { name: 'mine', role: 'operator' }, viewer);
    expect((await t.app.request('/v1/operator-keys', create)).status).toBe(403);
    for (const method of ['PATCH', 'PUT', 'POST']) {
      const change = jsonRequest(method, { role: 'operator' }, { authorization: `Bearer ${made.body.key}` });
      expect((await t.app.request(`/v1/operator-keys/${made.body.id}`, change)).status).toBe(405);
    }
  });

  it('are no assertions (RFC 8725 3.12)', async () => {
    const key = (await t.operator()).authorization.slice('Bearer '.length);
    expect((await sendAssertion(t.app, key)).status).toBe(401);
  });
});
