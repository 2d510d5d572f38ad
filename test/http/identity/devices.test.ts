import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { channels, notify } from '../../../api/store/journal/channels.ts';
import { answerOf } from '../../support/answers.ts';
import { createTestApp, registrationOf, requestToken, type TestApp } from '../../support/app.ts';
import { callsTo } from '../../support/identity/calls.ts';
import { createDeviceKey } from '../../support/identity/device-keys.ts';
import { createFederation } from '../../support/identity/federations.ts';

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

describe('a device about itself', () => {
  it('merges what it reports, null taking a property away', async () => {
    const device = await t.enrolDevice({ properties: { memoryMb: 512, battery: 0.9 } });
    const patch = (properties: unknown) => send('PATCH', '/v1/devices/me', { properties }, device.headers);
    expect(await patch({ battery: 0.5, models: ['mnist'] })).toMatchObject({
      status: 200,
      body: { id: device.id, properties: { memoryMb: 512, battery: 0.5, models: ['mnist'] } },
    });
    const { body } = await patch({ memoryMb: null });
    expect(body.properties).toEqual({ battery: 0.5, models: ['mnist'] });
    expect((await patch({ unheardOf: 1 })).status).toBe(400);
    expect((await send('PATCH', '/v1/devices/me', { labels: { a: 'b' } }, device.headers)).status).toBe(400);
  });

  it('wakes the workers by what may make it eligible, not by its battery', async () => {
    const device = await t.enrolDevice();
    const heard: string[] = [];
    const unsubscribe = t.deps.listener.subscribe(channels.work, (payload) => heard.push(payload));
    // Notifications arrive in the order of commits: all that belong to this test stand between the marks.
    const mark = async (name: string) => {
      await notify(t.deps.db.pool, channels.work, name);
      await vi.waitFor(() => expect(heard).toContain(name));
    };
    await mark('begin');
    await send('PATCH', '/v1/devices/me', { properties: { battery: 0.5 } }, device.headers);
    await send('PATCH', '/v1/devices/me', { properties: { models: ['mnist'] } }, device.headers);
    await mark('end');
    unsubscribe();
    expect(heard.slice(heard.indexOf('begin'))).toEqual(['begin', '', 'end']);
  });
});

describe('operators', () => {
  it('see, name and label devices of their federation alone', async () => {
    const device = await t.enrolDevice({ name: 'plain' });
    const foreign = await createFederation(t.deps, 'devices');
    const path = `/v1/devices/${device.id}`;
    expect(await get(path, await t.operator('viewer'))).toMatchObject({
      status: 200,
      body: { id: device.id, name: 'plain', labels: {} },
    });
    expect(await send('PATCH', path, { name: 'named', labels: { a: '1' } })).toMatchObject({
      status: 200,
      body: { name: 'named', labels: { a: '1' } },
    });
    expect((await send('PATCH', path, { labels: { b: '2' } })).body).toMatchObject({
      name: 'named',
      labels: { b: '2' },
    });
    expect((await send('PATCH', path, {})).body.labels).toEqual({ b: '2' });

    const notFound = { status: 404, body: { code: 'not_found' } };
    expect(await get(path, foreign.headers)).toMatchObject(notFound);
    expect(await send('PATCH', path, { name: 'stolen' }, foreign.headers)).toMatchObject(notFound);
    expect(await send('PATCH', path, {}, foreign.headers)).toMatchObject(notFound);
    expect(await post(`${path}/approve`, foreign.headers)).toMatchObject(notFound);
    expect(await post(`${path}/revoke`, foreign.headers)).toMatchObject(notFound);
    expect((await get('/v1/devices', foreign.headers)).body.items).toEqual([]);
    expect(await get(`/v1/devices/${randomUUID()}`, operator)).toMatchObject(notFound);
    expect((await get('/v1/devices/7', operator)).status).toBe(400);
    expect((await get(path, operator)).body).toMatchObject({ name: 'named', state: 'active' });
  });

  it('change nothing as viewers and releasers', async () => {
    const { id } = await t.enrolDevice();
    for (const role of ['viewer', 'releaser'] as const) {
      const headers = await t.operator(role);
      const forbidden = { status: 403, body: { code: 'forbidden' } };
      expect(await send('PATCH', `/v1/devices/${id}`, { name: 'x' }, headers)).toMatchObject(forbidden);
      expect(await post(`/v1/devices/${id}/approve`, headers)).toMatchObject(forbidden);
      expect(await post(`/v1/devices/${id}/revoke`, headers)).toMatchObject(forbidden);
    }
  });

  it('page through devices by cursor and state', async () => {
    const token = await t.enrollmentToken({ requiresApproval: true });
    const ids: unknown[] = [];
    for (let i = 0; i < 5; i++) {
      t.clock.advance(1);
      const body = await registrationOf(t.deps, await createDeviceKey(), token);
      ids.push((await send('POST', '/v1/devices', body, {})).body.id);
    }
    const seen: unknown[] = [];
    let cursor = '';
    do {
      const { body } = await get(`/v1/devices?state=pending&limit=2${cursor}`, operator);
      seen.push(...(body.items as { id: string }[]).map(({ id }) => id));
      cursor = body.nextCursor === undefined ? '' : `&cursor=${body.nextCursor}`;
    } while (cursor);
    expect(seen).toEqual(ids);
    expect(await get('/v1/devices?cursor=AAAA', operator)).toMatchObject({
      status: 400,
      body: { code: 'invalid_cursor' },
    });
  });

  it('leave a trace of what they do', async () => {
    const { id } = await t.enrolDevice();
    await send('PATCH', `/v1/devices/${id}`, { name: 'traced' });
    await post(`/v1/devices/${id}/revoke`);
    await post(`/v1/devices/${id}/revoke`);
    const rows = await t.deps.db.client`
      select action, actor from audit_entries where target = ${`device:${id}`} order by id`;
    expect(rows.map(({ action }) => action)).toEqual(['device.register', 'device.update', 'device.revoke']);
    expect(rows[2]!.actor).toMatch(/^operator:/);
    const events = await t.deps.db.client`
      select type from events where subject ->> 'device' = ${id} order by id`;
    expect(events.map(({ type }) => type)).toEqual(['device.registered', 'device.revoked']);
  });
});

describe('revocation', () => {
  it('ends tokens, keys and approval, and says so to the device', async () => {
    const device = await t.enrolDevice();
    expect(await post(`/v1/devices/${device.id}/revoke`)).toMatchObject({
      status: 200,
      body: { state: 'revoked', revokedAt: t.clock.now().toISOString() },
    });
    expect(await post(`/v1/devices/${device.id}/revoke`)).toMatchObject({ status: 200 });
    expect(await post(`/v1/devices/${device.id}/approve`)).toMatchObject({
      status: 409,
      body: { code: 'conflict' },
    });
    expect(await answerOf(requestToken(t.app, t.deps, device))).toMatchObject({
      status: 401,
      body: { error: 'invalid_client', code: 'device_revoked' },
    });
    await vi.waitFor(async () =>
      expect(await get('/v1/devices/me', device.headers)).toMatchObject({
        status: 401,
        body: { code: 'device_revoked' },
      }),
    );
  });

  it('reaches a replica that remembers the device, by notification', async () => {
    const other = await t.replica();
    const device = await t.enrolDevice();
    expect((await get('/v1/devices/me', device.headers, other.app)).status).toBe(200);
    // Its key, and that the signature of its token is ours.
    expect(other.deps.credentials.entries.size).toBe(2);
    await post(`/v1/devices/${device.id}/revoke`);
    await vi.waitFor(() => expect(other.deps.credentials.entries.size).toBe(0));
    expect((await get('/v1/devices/me', device.headers, other.app)).status).toBe(401);
  });

  it('reaches a replica that hears of nothing within 15 s', async () => {
    const deaf = await t.replica({ subscribe: () => () => {} });
    const device = await t.enrolDevice();
    expect((await get('/v1/devices/me', device.headers, deaf.app)).status).toBe(200);
    await post(`/v1/devices/${device.id}/revoke`);
    t.clock.advance(14_999);
    // It still remembers: else this would not test for how long.
    expect((await get('/v1/devices/me', device.headers, deaf.app)).status).toBe(200);
    t.clock.advance(1);
    expect((await get('/v1/devices/me', device.headers, deaf.app)).status).toBe(401);
  });
});
