import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Listening } from '../../../api/http/wire/listen.ts';
import { channels, notify } from '../../../api/store/journal/channels.ts';
import { models } from '../../../api/store/schema.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  type RequestHeaders,
  type TestApp,
} from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { sha256 } from '../../support/tensor-files.ts';
import { type QuickServers, startQuickServers } from './servers.ts';

/* What is answered without the router has to be what the router would answer, and to end as soon. */

const file = smallWeights(2);
const etag = `"${sha256(file)}"`;
const path = '/v1/models/m/versions/2/weights';

let test: TestApp;
let servers: QuickServers;
let operator: RequestHeaders;
let device: EnrolledDevice;

beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
  await createTestModel(test, operator, 'm', [smallWeights(1), file]);
  servers = await startQuickServers(test.deps);
});
afterAll(async () => {
  await servers?.close();
  await test?.close();
});

const ask = (headers: Record<string, string> = {}, at = path, method = 'GET') =>
  fetch(servers.quick.url + at, { method, headers: { ...device.headers, ...headers } });

async function statusOf(headers: Record<string, string> = {}): Promise<number> {
  const answer = await ask(headers);
  await answer.arrayBuffer();
  return answer.status;
}

/** Asks until the answer needs nobody any longer: the listener may still bring what happened before. */
async function warmUp(): Promise<void> {
  await vi.waitFor(async () => {
    expect(await statusOf()).toBe(200);
    expect(servers.way.wasQuick).toBe(true);
  });
}

beforeEach(async () => {
  device = await test.enrolDevice();
  await warmUp();
});

describe('a quick answer', () => {
  it.each([{}, { 'if-none-match': etag }])('says what the operation says (%o)', async (headers) => {
    const quick = await ask(headers);
    expect(servers.way.wasQuick).toBe(true);
    test.deps.credentials.permits.forget(device.id);
    const thorough = await ask(headers);
    expect(servers.way.wasQuick).toBe(false);
    const told = (answer: Response) =>
      [...answer.headers].filter(([name]) => !['date', 'x-request-id', 'ratelimit'].includes(name));
    expect(quick.status).toBe(thorough.status);
    expect(told(quick)).toEqual(told(thorough));
    expect(quick.headers.get('x-request-id')).not.toBe(thorough.headers.get('x-request-id'));
    expect(await quick.arrayBuffer()).toEqual(await thorough.arrayBuffer());
  });

  it('says to pages of each origin what the operation says', async () => {
    const { config } = test.deps;
    const limits = { ...config.limits, corsOrigins: ['https://a.example', 'https://b.example'] };
    const own = await startQuickServers({ ...test.deps, config: { ...config, limits } });
    const { quick, slow } = own;
    const told = async (at: Listening, origin: string, unchanged: Record<string, string> = {}) => {
      const answer = await fetch(at.url + path, { headers: { ...device.headers, ...unchanged, origin } });
      await answer.arrayBuffer();
      return ['vary', 'access-control-allow-origin', 'access-control-expose-headers'].map((name) =>
        answer.headers.get(name),
      );
    };
    try {
      // Brings the file into its memory.
      await told(slow, 'https://a.example');
      for (const origin of [
        'https://a.example',
        'https://b.example',
        'https://c.example',
        'https://a.example',
      ]) {
        for (const unchanged of [{}, { 'if-none-match': etag }]) {
          const quickly = await told(quick, origin, unchanged);
          expect(own.way.wasQuick).toBe(true);
          expect(quickly).toEqual(await told(slow, origin, unchanged));
        }
      }
      expect(await told(quick, 'https://b.example')).toContain('https://b.example');
    } finally {
      await own.close();
    }
  });

  it('is for each device that may have the file, with its own credentials', async () => {
    const first = device;
    device = await test.enrolDevice();
    await vi.waitFor(async () => {
      for (const { headers } of [first, device]) {
        expect(await statusOf({ ...headers, 'if-none-match': etag })).toBe(304);
        expect(servers.way.wasQuick).toBe(true);
      }
    });
  });

  it('is counted and measured like any other', async () => {
    const { metrics } = test.deps;
    const requests = async () => {
      const { values } = await metrics.httpSeconds.get();
      const counts = values.filter(({ metricName }) => metricName?.endsWith('_count'));
      return counts.find(({ labels }) => labels.operation === 'downloadWeights' && labels.status === '3xx');
    };
    const left = (answer: Response) => Number(/r=(\d+)/.exec(answer.headers.get('ratelimit')!)?.[1]);
    const before = (await requests())?.value ?? 0;
    const [first, second] = [await ask({ 'if-none-match': etag }), await ask({ 'if-none-match': etag })];
    expect(servers.way.wasQuick).toBe(true);
    expect(left(second)).toBe(left(first) - 1);
    expect((await requests())?.value).toBe(before + 2);
  });

  it.each<[string, Record<string, string>, string, string]>([
    ['a part', { range: 'bytes=0-1' }, path, 'GET'],
    ['HEAD', {}, path, 'HEAD'],
    ['another version', {}, '/v1/models/m/versions/1/weights', 'GET'],
    ['another model', {}, '/v1/models/n/versions/2/weights', 'GET'],
    ['another variant', {}, `${path}?variant=int9`, 'GET'],
    ['another way to write the path', {}, '/v1/models/%6d/versions/2/weights', 'GET'],
    ['no token', { authorization: '' }, path, 'GET'],
    ['half a token', { authorization: 'Bearer x' }, path, 'GET'],
  ])('is not given for %s', async (_name, headers, at, method) => {
    await (await ask(headers, at, method)).arrayBuffer();
    expect(servers.way.wasQuick).toBe(false);
  });
});

describe('a token that looks like one that is remembered', () => {
  const field = () => device.headers.authorization!;

  it.each<[string, (token: string) => string]>([
    ['with another beginning', (token) => token.replace(/^Bearer ./, 'Bearer f')],
    ['with other claims', (token) => token.replace(/\.(.)/, (_, next) => `.${next === 'a' ? 'b' : 'a'}`)],
    ['with another end', (token) => token.slice(0, -2) + (token.endsWith('AA') ? 'BB' : 'AA')],
    ['that is only its end', (token) => `Bearer ${token.slice(-43)}`],
  ])('%s is refused', async (_name, forge) => {
    const forged = forge(field());
    expect(forged).not.toBe(field());
    expect(await statusOf({ authorization: forged })).toBe(401);
    expect(servers.way.wasQuick).toBe(false);
    expect(await statusOf()).toBe(200);
    expect(servers.way.wasQuick).toBe(true);
  });
});

describe('it ends', () => {
  it('with the device', async () => {
    const revoke = jsonRequest('POST', {}, operator);
    expect((await test.app.request(`/v1/devices/${device.id}/revoke`, revoke)).status).toBe(200);
    await vi.waitFor(async () => expect(await statusOf()).toBe(401));
  });

  it('with the token', async () => {
    test.clock.advance(11 * 60_000);
    expect(await statusOf()).toBe(401);
    expect(servers.way.wasQuick).toBe(false);
  });

  it('with what the device remembers for 15 s, whoever heard of nothing', async () => {
    const [model] = await test.deps.db.pool.select().from(models);
    await test.deps.db.pool.update(models).set({ head: 1 }).where(eq(models.id, model!.id));
    try {
      expect(await statusOf()).toBe(200);
      test.clock.advance(15_000);
      expect(await statusOf()).toBe(404);
    } finally {
      await test.deps.db.pool.update(models).set({ head: 2 }).where(eq(models.id, model!.id));
    }
  });

  it('with the version that is current, as soon as that is announced', async () => {
    const { pool } = test.deps.db;
    await pool.update(models).set({ head: 1 });
    try {
      await notify(pool, channels.events);
      await vi.waitFor(async () => expect(await statusOf()).toBe(404));
    } finally {
      await pool.update(models).set({ head: 2 });
      await notify(pool, channels.events);
    }
  });

  it('with the assignment that its device has settled here', async () => {
    test.deps.credentials.permits.forget(device.id);
    await statusOf();
    expect(servers.way.wasQuick).toBe(false);
  });
});
