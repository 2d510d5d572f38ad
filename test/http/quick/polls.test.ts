import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { devices } from '../../../api/store/schema.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  type RequestHeaders,
  type TestApp,
} from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { openRaw, requestHead } from '../../support/raw-http.ts';
import {
  countMeasured,
  leaveDuringLookUp,
  type QuickServers,
  startQuickServers,
  toldBy,
  unreachable,
} from './servers.ts';

/* A device that waits without the router has to be told, and refused, what the router would tell it. */

const PATH = '/v1/assignment';

let test: TestApp;
let servers: QuickServers;
let operator: RequestHeaders;
let device: EnrolledDevice;
let model: string;
let models = 0;

beforeAll(async () => {
  test = await createTestApp();
  servers = await startQuickServers(test.deps);
  operator = await test.operator();
});
afterAll(async () => {
  await servers?.close();
  await test?.close();
});
beforeEach(async () => {
  model = `m${++models}`;
  await createTestModel(test, operator, model, [smallWeights(1)]);
  device = await test.enrolDevice({ properties: { models: [model] } });
  // Its token is known from then on.
  await poll('', servers.slow);
});

const poll = (query = '', { url } = servers.quick, headers: Record<string, string> = {}) =>
  fetch(`${url}${PATH}${query}`, { headers: { ...device.headers, ...headers } });

async function openRound(): Promise<void> {
  const body = { model, quorum: 1, capacity: 3, deadlineMs: 86_400_000 };
  const created = await test.app.request('/v1/runs', jsonRequest('POST', body, operator));
  expect(created.status).toBe(201);
  for (let pass = 0; pass < 3; pass += 1) await advanceRounds(test.deps);
}

const waiting = async () => (await test.deps.metrics.waitingDevices.get()).values[0]?.value;

describe('a poll of a device that is known', () => {
  it.each(['', '?wait=0'])(
    'is answered as the operation answers where there is nothing (%j)',
    async (query) => {
      const quick = await poll(query);
      expect(servers.way).toEqual({ wasQuick: true, wasLeft: false });
      const slow = await poll(query, servers.slow);
      expect(Number(quick.headers.get('retry-after'))).toBeGreaterThan(0);
      const [told, expected] = [await toldBy(quick), await toldBy(slow)];
      expect(told.status).toBe(204);
      const withoutPause = (headers: [string, string][]) =>
        headers.filter(([name]) => name !== 'retry-after');
      expect(withoutPause(told.headers)).toEqual(withoutPause(expected.headers));
    },
  );

  it('is answered as the operation answers where there is work, each time', async () => {
    await openRound();
    const quick = await poll('?wait=20');
    expect(servers.way).toEqual({ wasQuick: true, wasLeft: false });
    const told = await toldBy(quick);
    expect(told).toMatchObject({ status: 200, body: { kind: 'train', model } });
    const { headers, ...slow } = await toldBy(await poll('?wait=20', servers.slow));
    expect({ status: told.status, body: told.body }).toEqual(slow);
    expect(told.headers.filter(([name]) => name !== 'content-length')).toEqual(
      headers.filter(([name]) => name !== 'content-length'),
    );
    expect((await toldBy(await poll())).body).toEqual(told.body);
  });

  it('waits until a round opens, and is measured', async () => {
    const before = await countMeasured(test.deps, 'getAssignment', '2xx');
    const polling = poll('?wait=60');
    await expect.poll(waiting).toBe(1);
    expect(await countMeasured(test.deps, 'getAssignment', '2xx')).toBe(before);
    await openRound();
    const answer = await polling;
    expect(servers.way).toEqual({ wasQuick: true, wasLeft: false });
    expect(await answer.json()).toMatchObject({ kind: 'train', model });
    expect(await countMeasured(test.deps, 'getAssignment', '2xx')).toBe(before + 1);
  });

  it('is answered as often as it was sent over one connection at once', async () => {
    const connection = openRaw(servers.quick.port);
    const request = requestHead('GET', PATH, device.headers);
    connection.send(request + request);
    await connection.until(/204 No Content[\s\S]*204 No Content/);
    expect(servers.way).toEqual({ wasQuick: true, wasLeft: false });
    connection.socket.destroy();
  });

  it('ends with its connection', async () => {
    const connection = openRaw(servers.quick.port);
    connection.send(requestHead('GET', `${PATH}?wait=60`, device.headers));
    await expect.poll(waiting).toBe(1);
    expect(servers.way.wasQuick).toBe(true);
    connection.socket.destroy();
    await expect.poll(waiting).toBe(0);
  });

  it('ends with a connection that goes while the key is looked up', async () => {
    test.clock.advance(60_000);
    const before = await countMeasured(test.deps, 'getAssignment', '2xx');
    const head = requestHead('GET', `${PATH}?wait=60`, device.headers);
    await leaveDuringLookUp(servers, test.deps, [head]);
    await expect.poll(() => countMeasured(test.deps, 'getAssignment', '2xx')).toBe(before + 1);
    expect(await waiting()).toBe(0);
  });
});

describe('is refused as the operation refuses', () => {
  it('what is over the limit of its address, also while it is refused', async () => {
    const { config } = test.deps;
    const limits = { ...config.limits, perAddress: { requests: 3, seconds: 60 } };
    const limited = await startQuickServers({ ...test.deps, config: { ...config, limits } });
    try {
      expect((await poll('', limited.quick)).headers.get('ratelimit')).toMatch(/^"device"/);
      await test.deps.db.pool.update(devices).set({ state: 'revoked' }).where(eq(devices.id, device.id));
      test.clock.advance(16_000);
      for (const [status, left] of [
        [401, 1],
        [401, 0],
        [429, 0],
      ]) {
        const answer = await poll('', limited.quick);
        expect(answer.status).toBe(status);
        expect(answer.headers.get('ratelimit')).toMatch(new RegExp(`^"address";r=${left};`));
      }
    } finally {
      await limited.close();
    }
  });

  it('what is over a limit, counted once', async () => {
    const { config } = test.deps;
    const limits = { ...config.limits, perDevice: { requests: 1, seconds: 60 } };
    const limited = await startQuickServers({ ...test.deps, config: { ...config, limits } });
    try {
      expect((await poll('', limited.quick)).status).toBe(204);
      const answer = await poll('', limited.quick);
      expect(limited.way).toEqual({ wasQuick: true, wasLeft: true });
      expect(answer.status).toBe(429);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await answer.json()).toMatchObject({ code: 'rate_limited', policy: 'device' });
    } finally {
      await limited.close();
    }
  });

  it('a device that was revoked, when its key is looked up again', async () => {
    await test.deps.db.pool.update(devices).set({ state: 'revoked' }).where(eq(devices.id, device.id));
    test.clock.advance(60_000);
    const answer = await poll();
    expect(servers.way).toEqual({ wasQuick: true, wasLeft: true });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ code: 'device_revoked' });
  });

  it('a device that is revoked while it waits', async () => {
    const polling = poll('?wait=60');
    await expect.poll(waiting).toBe(1);
    await test.app.request(`/v1/devices/${device.id}/revoke`, jsonRequest('POST', {}, operator));
    expect((await polling).status).toBe(204);
    await expect.poll(async () => (await poll()).status).toBe(401);
  });

  it('all, with a time to come again, while the database is away', async () => {
    const broken = await startQuickServers(unreachable(test.deps));
    try {
      const answer = await poll('', broken.quick);
      expect(broken.way).toEqual({ wasQuick: true, wasLeft: true });
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await answer.json()).toMatchObject({ code: 'unavailable' });
    } finally {
      await broken.close();
    }
  });
});

describe('is left to the operation', () => {
  it('while the process has too much to bear', async () => {
    const loaded = await startQuickServers(test.deps, { readLoad: () => 'high' });
    try {
      expect((await poll('', loaded.quick)).status).toBe(503);
      expect(loaded.way.wasQuick).toBe(false);
    } finally {
      await loaded.close();
    }
  });

  it.each<[string, string, Record<string, string>, number]>([
    ['with a wait that is too long', '?wait=61', {}, 400],
    ['with a wait that is none', '?wait=soon', {}, 400],
    ['with a wait below zero', '?wait=-1', {}, 400],
    ['with more than a wait', '?wait=0&then=1', {}, 204],
    ['of another address', 's', {}, 404],
    ['with half a token', '', { authorization: 'Bearer x' }, 401],
  ])('%s', async (_name, query, headers, status) => {
    const answer = await poll(query, servers.quick, headers);
    expect(servers.way.wasQuick).toBe(false);
    const { status: expected, ...told } = await toldBy(await poll(query, servers.slow, headers));
    expect([answer.status, expected]).toEqual([status, status]);
    expect((await toldBy(answer)).body).toEqual(told.body);
  });

  it('with a body', async () => {
    const connection = openRaw(servers.quick.port);
    connection.send(`${requestHead('GET', PATH, { ...device.headers, 'content-length': '2' })}{}`);
    expect(await connection.until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 204 /);
    expect(servers.way.wasQuick).toBe(false);
    connection.socket.destroy();
  });
});
