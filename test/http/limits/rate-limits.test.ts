import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../api/config.ts';
import { createTokenBuckets } from '../../../api/http/limits/token-buckets.ts';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import {
  createTestApp,
  type EnrolledDevice,
  jsonRequest,
  type RequestHeaders,
  type TestApp,
} from '../../support/app.ts';

const appWith = (env: Record<string, string>) => createTestApp({ config: loadConfig(env) });
const times = (count: number) => Array.from({ length: count }, (_, i) => i);

async function statuses(requests: number, send: () => Promise<Response> | Response): Promise<number[]> {
  const seen: number[] = [];
  for (const _ of times(requests)) seen.push((await send()).status);
  return seen;
}

describe('a token bucket', () => {
  it('gives its tokens at once, then as many as flow in', () => {
    const buckets = createTokenBuckets({ requests: 3, seconds: 6 });
    const takes = times(4).map(() => buckets.take('a', 0));
    expect(takes.map(({ allowed }) => allowed)).toEqual([true, true, true, false]);
    expect(takes.map(({ remaining }) => remaining)).toEqual([2, 1, 0, 0]);
    expect(takes[3]).toMatchObject({ waitSeconds: 2, fullSeconds: 6 });
    expect(buckets.take('a', 1999).allowed).toBe(false);
    expect(buckets.take('a', 2000).allowed).toBe(true);
    expect(buckets.take('a', 2001).allowed).toBe(false);
    expect(buckets.take('b', 2001).allowed).toBe(true);
  });

  it('never lets in more than its burst and what flowed in, and always somebody who waited as told', () => {
    const steps = fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 100 });
    const quota = fc.record({
      requests: fc.integer({ min: 1, max: 50 }),
      seconds: fc.integer({ min: 1, max: 30 }),
    });
    fc.assert(
      fc.property(steps, quota, (pauses, { requests, seconds }) => {
        const buckets = createTokenBuckets({ requests, seconds });
        let now = 1_700_000_000_000;
        const start = now;
        let allowed = 0;
        for (const pause of pauses) {
          now += pause;
          const take = buckets.take('a', now);
          if (take.allowed) allowed += 1;
          else {
            now += Math.ceil(take.waitSeconds * 1000);
            expect(buckets.take('a', now).allowed).toBe(true);
            allowed += 1;
          }
          expect(allowed).toBeLessThanOrEqual(
            requests + ((now - start) * requests) / (seconds * 1000) + 1e-3,
          );
        }
      }),
    );
  });

  it('is not locked by a clock that was set back', () => {
    const buckets = createTokenBuckets({ requests: 2, seconds: 2 });
    buckets.take('a', 1_000_000);
    buckets.take('a', 1_000_000);
    expect(buckets.take('a', 0).allowed).toBe(false);
    expect(buckets.take('a', 1000).allowed).toBe(true);
  });

  it('is forgotten when many others came since, and not while it is in use', () => {
    const buckets = createTokenBuckets({ requests: 2, seconds: 2 }, 10);
    for (const i of times(1000)) {
      buckets.take(`other ${i}`, 0);
      buckets.take('busy', 0);
    }
    expect(buckets.size).toBe(10);
    expect(buckets.take('busy', 0).allowed).toBe(false);
    expect(buckets.take('other 0', 0).remaining).toBe(1);
  });
});

describe('limits by principal', () => {
  let test: TestApp;
  let devices: EnrolledDevice[];
  let operator: RequestHeaders;
  beforeAll(async () => {
    test = await appWith({ FEDEDGE_LIMIT_DEVICE: '5/50', FEDEDGE_LIMIT_OPERATOR: '3/30' });
    devices = [await test.enrolDevice(), await test.enrolDevice()];
    operator = await test.operator();
  });
  afterAll(() => test.close());
  const me = (headers: RequestHeaders) => test.app.request('/v1/devices/me', { headers });

  it('count each device for itself, and tell it how it stands', async () => {
    const [first, second] = devices;
    const answer = await me(first!.headers);
    expect(answer.headers.get('ratelimit-policy')).toBe('"device";q=5;w=50');
    expect(answer.headers.get('ratelimit')).toBe('"device";r=4;t=10');
    expect(await statuses(5, () => me(first!.headers))).toEqual([200, 200, 200, 200, 429]);
    expect((await me(second!.headers)).status).toBe(200);
  });

  it('refuse with a problem that says when to come back; then it works', async () => {
    const [first] = devices;
    const refused = await me(first!.headers);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(refused.headers.get('retry-after')).toBe('10');
    expect(refused.headers.get('ratelimit')).toBe('"device";r=0;t=50');
    expect(await refused.json()).toMatchObject({ code: 'rate_limited', status: 429, policy: 'device' });
    test.clock.advance(9999);
    expect((await me(first!.headers)).status).toBe(429);
    test.clock.advance(1);
    expect((await me(first!.headers)).status).toBe(200);
  });

  it('hold whatever token the device uses', async () => {
    const [first] = devices;
    test.clock.advance(60_000);
    const other = await first!.renew();
    const turns = [first!.headers, other, first!.headers, other, first!.headers];
    for (const headers of turns) expect((await me(headers)).status).toBe(200);
    expect((await me(other)).status).toBe(429);
  });

  it('have another measure for operators, and free an Idempotency-Key that was refused', async () => {
    const list = () => test.app.request('/v1/models', { headers: operator });
    expect(await statuses(4, list)).toEqual([200, 200, 200, 429]);
    const body = { name: 'after', manifest: { tensors: [{ name: 'w', shape: [1] }] } };
    const create = () =>
      test.app.request('/v1/models', jsonRequest('POST', body, { ...operator, 'idempotency-key': 'once' }));
    expect((await create()).status).toBe(429);
    test.clock.advance(10_000);
    expect((await create()).status).toBe(201);
  });

  it('do not count who is refused before: nobody uses up what is another’s', async () => {
    test.clock.advance(60_000);
    const [first] = devices;
    const forged = { authorization: `${first!.headers.authorization}x` };
    expect(new Set(await statuses(10, () => me(forged)))).toEqual(new Set([401]));
    expect((await me(await first!.renew())).headers.get('ratelimit')).toBe('"device";r=4;t=10');
  });
});

describe('limits by address', () => {
  let test: TestApp;
  beforeAll(async () => {
    test = await appWith({
      FEDEDGE_TRUSTED_PROXIES: '1',
      FEDEDGE_LIMIT_ADDRESS: '20/20',
      FEDEDGE_LIMIT_TOKENS: '2/20',
    });
  });
  afterAll(() => test.close());
  const from = (address: string, path = '/v1/models') =>
    test.app.request(path, { headers: { 'x-forwarded-for': `203.0.113.1, ${address}` } });

  it('count everything, also what is refused and what is not there', async () => {
    const address = '198.51.100.1';
    expect(new Set(await statuses(10, () => from(address)))).toEqual(new Set([401]));
    expect(new Set(await statuses(10, () => from(address, '/nothing')))).toEqual(new Set([404]));
    const refused = await from(address);
    expect(refused.status).toBe(429);
    expect(await refused.json()).toMatchObject({ code: 'rate_limited', policy: 'address' });
    expect((await from('198.51.100.2')).status).toBe(401);
  });

  it('take a /64 for one address', async () => {
    await statuses(20, () => from('2001:db8:0:1::1'));
    expect((await from('2001:db8:0:1:ffff::2')).status).toBe(429);
    expect((await from('2001:db8:0:2::1')).status).toBe(401);
  });

  it('leave health alone: a balancer would take the server out', async () => {
    const address = '198.51.100.3';
    expect(new Set(await statuses(30, () => from(address, '/livez')))).toEqual(new Set([200]));
  });

  it('are tighter for registrations and tokens, together', async () => {
    const headers = { 'x-forwarded-for': '198.51.100.4' };
    const register = () => test.app.request('/v1/devices', jsonRequest('POST', {}, headers));
    const token = () => test.app.request('/v1/token', { method: 'POST', headers });
    expect((await register()).status).toBe(400);
    expect((await token()).status).toBe(400);
    for (const send of [register, token]) {
      const refused = await send();
      expect(refused.status).toBe(429);
      expect(refused.headers.get('retry-after')).toBe('10');
      expect(refused.headers.get('ratelimit-policy')).toBe('"tokens";q=2;w=20');
    }
    expect((await from('198.51.100.4')).status).toBe(401);
  });
});

describe('without a proxy', () => {
  let test: TestApp;
  let server: Listening;
  beforeAll(async () => {
    test = await appWith({ FEDEDGE_LIMIT_ADDRESS: '5/500' });
    server = await listen(test.app, { host: '127.0.0.1', port: 0 });
  });
  afterAll(async () => {
    await server.close(0);
    await test.close();
  });

  it('the connection’s address counts, whatever X-Forwarded-For says', async () => {
    let turn = 0;
    const send = () =>
      fetch(`${server.url}/v1/models`, { headers: { 'x-forwarded-for': `198.51.100.${++turn}` } });
    expect(await statuses(6, send)).toEqual([401, 401, 401, 401, 401, 429]);
  });
});

describe('off', () => {
  it('is off: no limit, and no word of one', async () => {
    const names = ['ADDRESS', 'TOKENS', 'DEVICE', 'OPERATOR'].map((name) => `FEDEDGE_LIMIT_${name}`);
    const test = await appWith(Object.fromEntries(names.map((name) => [name, 'off'])));
    const device = await test.enrolDevice();
    const answer = await test.app.request('/v1/devices/me', { headers: device.headers });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('ratelimit')).toBeNull();
    await test.close();
  });
});

it('the usual limits have room for a hundred devices that register at once from one address', () => {
  const { perAddress, tokensPerAddress, perDevice } = loadConfig({}).limits;
  expect(tokensPerAddress!.requests).toBeGreaterThanOrEqual(2 * 100 * 5);
  expect(perAddress!.requests).toBeGreaterThanOrEqual(100 * 100);
  // A round of 30 ms, with a poll, two downloads, an update and a poll in vain.
  expect(perDevice!.requests / perDevice!.seconds).toBeGreaterThanOrEqual(100);
});
