import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { answerOf } from '../../support/answers.ts';
import {
  createTestApp,
  type EnrolledDevice,
  registrationOf,
  requestToken,
  type TestApp,
} from '../../support/app.ts';
import { callsTo } from '../../support/identity/calls.ts';
import { createDeviceKey, type DeviceKey, seconds, sign } from '../../support/identity/device-keys.ts';

let t: TestApp;
let operator: Record<string, string>;

beforeAll(async () => {
  t = await createTestApp();
  operator = await t.operator();
});
afterAll(() => t.close());

const { get, send, post } = callsTo(
  () => t,
  () => operator,
);

describe('key rotation', () => {
  it('lets both keys work until the new one is first used', async () => {
    const other = await t.replica();
    const device = await t.enrolDevice();
    const next = await createDeviceKey('EdDSA');
    const rotated = await rotate(device, next);
    expect(rotated).toMatchObject({ status: 200, body: { thumbprint: next.thumbprint, state: 'next' } });
    expect((await requestToken(t.app, t.deps, device)).status).toBe(200);
    expect((await get('/v1/devices/me', device.headers, other.app)).status).toBe(200);

    const renewed = await answerOf(requestToken(t.app, t.deps, { id: device.id, key: next }));
    expect(renewed.status).toBe(200);
    expect(await answerOf(requestToken(t.app, t.deps, device))).toMatchObject({
      status: 401,
      body: { code: 'invalid_client' },
    });
    await vi.waitFor(async () =>
      expect((await get('/v1/devices/me', device.headers, other.app)).status).toBe(401),
    );
    const headers = { authorization: `Bearer ${renewed.body.access_token}` };
    expect((await get('/v1/devices/me', headers)).body.id).toBe(device.id);
    expect(await keyStates(device.id)).toEqual(['replaced', 'active']);
  });

  it('answers repeats alike, before and after the first use', async () => {
    const device = await t.enrolDevice();
    const next = await createDeviceKey();
    const rotation = await rotationOf(device, next);
    const first = await send('POST', '/v1/devices/me/key', rotation, device.headers);
    t.clock.advance(1000);
    expect(await send('POST', '/v1/devices/me/key', rotation, device.headers)).toEqual(first);
    const renewed = await answerOf(requestToken(t.app, t.deps, { id: device.id, key: next }));
    const headers = { authorization: `Bearer ${renewed.body.access_token}` };
    expect(await send('POST', '/v1/devices/me/key', rotation, headers)).toEqual({
      status: 200,
      body: { ...first.body, state: 'active' },
    });
    expect(await keyStates(device.id)).toEqual(['replaced', 'active']);
  });

  it('replaces an unused next key, which is then refused for ever', async () => {
    const device = await t.enrolDevice();
    const [lost, kept] = [await createDeviceKey(), await createDeviceKey()];
    await rotate(device, lost);
    expect((await rotate(device, kept)).status).toBe(200);
    expect((await requestToken(t.app, t.deps, { id: device.id, key: lost })).status).toBe(401);
    expect(await rotate(device, lost)).toMatchObject({ status: 403, body: { code: 'key_refused' } });
    expect((await requestToken(t.app, t.deps, { id: device.id, key: kept })).status).toBe(200);
    expect(await keyStates(device.id)).toEqual(['replaced', 'replaced', 'active']);
  });

  it('at once to two keys leaves one of them', async () => {
    const device = await t.enrolDevice();
    const keys = await Promise.all([1, 2, 3, 4].map(() => createDeviceKey()));
    await Promise.all(keys.map((key) => rotate(device, key)));
    const states = await keyStates(device.id);
    expect(states.toSorted()).toEqual(['active', 'next', 'replaced', 'replaced', 'replaced']);
  });

  it('takes no key that is known already', async () => {
    const device = await t.enrolDevice();
    const other = await t.enrolDevice();
    expect(await rotate(device, other.key)).toMatchObject({ status: 403, body: { code: 'key_refused' } });
    const next = await createDeviceKey();
    await rotate(device, next);
    await requestToken(t.app, t.deps, { id: device.id, key: next });
    const body = await registrationOf(t.deps, device.key, await t.enrollmentToken());
    expect(await send('POST', '/v1/devices', body, {})).toMatchObject({
      status: 403,
      body: { code: 'key_refused' },
    });
  });

  it.each([
    ['of another device', { sub: randomUUID() }],
    ['for another key', { jkt: 'A'.repeat(43) }],
    ['without the key', { jkt: undefined }],
    ['for another server', { aud: 'https://other.test' }],
    ['without jti', { jti: undefined }],
  ])('refuses proofs %s', async (_, claims) => {
    const device = await t.enrolDevice();
    const next = await createDeviceKey();
    const good = await rotationOf(device, next);
    const bad = await rotationOf(device, next, claims);
    for (const change of [{ proof: bad.proof }, { possession: bad.possession }]) {
      expect(await send('POST', '/v1/devices/me/key', { ...good, ...change }, device.headers)).toMatchObject({
        status: 400,
        body: { code: 'invalid_proof' },
      });
    }
    expect(await keyStates(device.id)).toEqual(['active']);
  });

  it('refuses a proof by the wrong key, and old ones', async () => {
    const device = await t.enrolDevice();
    const next = await createDeviceKey();
    const { key, proof, possession } = await rotationOf(device, next);
    const swapped = { key, proof: possession, possession: proof };
    const onlyOld = { key, proof, possession: proof };
    const onlyNew = { key, proof: possession, possession };
    for (const body of [swapped, onlyOld, onlyNew]) {
      expect(await send('POST', '/v1/devices/me/key', body, device.headers)).toMatchObject({
        status: 400,
        body: { code: 'invalid_proof' },
      });
    }
    t.clock.advance(306_000);
    expect(
      await send('POST', '/v1/devices/me/key', { key, proof, possession }, device.headers),
    ).toMatchObject({ status: 401, body: { code: 'clock_skew' } });
  });

  it('and a revocation at the same moment leave no valid key', async () => {
    for (let round = 0; round < 5; round++) {
      const device = await t.enrolDevice();
      const rotation = await rotationOf(device, await createDeviceKey());
      await Promise.all([
        post(`/v1/devices/${device.id}/revoke`),
        send('POST', '/v1/devices/me/key', rotation, device.headers),
      ]);
      const states = await keyStates(device.id);
      expect(new Set(states)).toEqual(new Set(['revoked']));
    }
  });
});

async function rotationOf(device: EnrolledDevice, next: DeviceKey, claims: Record<string, unknown> = {}) {
  const statement = (by: DeviceKey) =>
    sign(
      by,
      {
        aud: t.deps.publicUrl,
        iat: seconds(t.clock.now()),
        jti: randomUUID(),
        sub: device.id,
        jkt: next.thumbprint,
        ...claims,
      },
      { typ: 'fededge-proof+jwt' },
    );
  return { key: next.jwk, proof: await statement(device.key), possession: await statement(next) };
}

async function rotate(device: EnrolledDevice, next: DeviceKey) {
  return send('POST', '/v1/devices/me/key', await rotationOf(device, next), device.headers);
}

async function keyStates(deviceId: string): Promise<string[]> {
  const rows = await t.deps.db.client`
    select state from device_keys where device_id = ${deviceId} order by created_at, state desc`;
  return rows.map(({ state }) => state as string);
}
