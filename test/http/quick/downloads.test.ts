import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Api, createApi } from '../../../api/http/app.ts';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
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

/* What is answered without the router has to be what the router would answer, and to end as soon. */

const file = smallWeights(2);
const etag = `"${sha256(file)}"`;
const path = '/v1/models/m/versions/2/weights';

let test: TestApp;
let api: Api;
let server: Listening;
let operator: RequestHeaders;
let device: EnrolledDevice;
/** Whether the last request was answered at once. */
let wasQuick: boolean;

beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
  await createTestModel(test, operator, 'm', [smallWeights(1), file]);
  api = createApi(test.deps);
  const quick: Api['quick'] = (...request) => {
    wasQuick = api.quick(...request);
    return wasQuick;
  };
  server = await listen({ fetch: api.app.fetch, quick }, { host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await server?.close(0);
  await test?.close();
});

const ask = (headers: Record<string, string> = {}, at = path, method = 'GET') =>
  fetch(server.url + at, { method, headers: { ...device.headers, ...headers } });

async function statusOf(headers: Record<string, string> = {}): Promise<number> {
  const answer = await ask(headers);
  await answer.arrayBuffer();
  return answer.status;
}

/** Asks until the answer needs nobody any longer: the listener may still bring what happened before. */
async function warmUp(): Promise<void> {
  await vi.waitFor(async () => {
    expect(await statusOf()).toBe(200);
    expect(wasQuick).toBe(true);
  });
}

beforeEach(async () => {
  device = await test.enrolDevice();
  await warmUp();
});

describe('a quick answer', () => {
  it.each([{}, { 'if-none-match': etag }])('says what the operation says (%o)', async (headers) => {
    const quick = await ask(headers);
    expect(wasQuick).toBe(true);
    test.deps.credentials.permits.forget(device.id);
    const thorough = await ask(headers);
    expect(wasQuick).toBe(false);
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
    const own = createApi({ ...test.deps, config: { ...config, limits } });
    let answered = 0;
    const quick: Api['quick'] = (...request) => {
      const isAnswered = own.quick(...request);
      if (isAnswered) answered += 1;
      return isAnswered;
    };
    const open = await listen({ fetch: own.app.fetch, quick }, { host: '127.0.0.1', port: 0 });
    const told = async (at: Listening, origin: string) => {
      const answer = await fetch(at.url + path, { headers: { ...device.headers, origin } });
      await answer.arrayBuffer();
      return ['vary', 'access-control-allow-origin', 'access-control-expose-headers'].map((name) =>
        answer.headers.get(name),
      );
    };
    const slow = await listen({ fetch: own.app.fetch }, { host: '127.0.0.1', port: 0 });
    try {
      // Brings the file into its memory.
      await told(slow, 'https://a.example');
      for (const origin of [
        'https://a.example',
        'https://b.example',
        'https://c.example',
        'https://a.example',
      ]) {
        expect(await told(open, origin)).toEqual(await told(slow, origin));
      }
      expect(await told(open, 'https://b.example')).toContain('https://b.example');
      expect(answered).toBe(5);
    } finally {
      await Promise.all([open.close(0), slow.close(0)]);
    }
  });

  it('is for each device that may have the file, with its own credentials', async () => {
    const first = device;
    device = await test.enrolDevice();
    await vi.waitFor(async () => {
      for (const { headers } of [first, device]) {
        expect(await statusOf({ ...headers, 'if-none-match': etag })).toBe(304);
        expect(wasQuick).toBe(true);
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
    expect(wasQuick).toBe(true);
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
    expect(wasQuick).toBe(false);
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
    expect(wasQuick).toBe(false);
    expect(await statusOf()).toBe(200);
    expect(wasQuick).toBe(true);
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
    expect(wasQuick).toBe(false);
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
    expect(wasQuick).toBe(false);
  });
});
