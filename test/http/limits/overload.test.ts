import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../api/config.ts';
import { createApp } from '../../../api/http/app.ts';
import { createLoadGauge, judgeLoad, type Load } from '../../../api/http/limits/load.ts';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { createTestApp, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { holdWrites } from '../../support/blobs.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { openRaw, requestHead } from '../../support/raw-http.ts';
import { digestField } from '../../support/tensor-files.ts';

describe('the load', () => {
  it.each<[number, number, Load]>([
    [20, 0.3, 'normal'],
    [249, 0.84, 'normal'],
    [250, 0.3, 'high'],
    [20, 0.85, 'high'],
    [20, 0.95, 'critical'],
    [9999, 0.3, 'high'],
  ])('of a delay of %i ms and %f of the memory is %s: %s', (loopDelayMs, memory, load) => {
    expect(judgeLoad({ loopDelayMs, memory })).toBe(load);
  });

  it('is measured at most twice a second', () => {
    let looks = 0;
    let now = 0;
    const read = createLoadGauge(
      () => ({ loopDelayMs: 0, memory: ++looks / 2 }),
      () => now,
    );
    expect([read(), read()]).toEqual(['normal', 'normal']);
    now = 499;
    expect(read()).toBe('normal');
    now = 500;
    expect(read()).toBe('critical');
    expect(looks).toBe(2);
  });

  it('of this process is normal', () => {
    expect(createLoadGauge()()).toBe('normal');
  });
});

describe('under load', () => {
  let test: TestApp;
  let load: Load = 'normal';
  let app: TestApp['app'];
  let operator: RequestHeaders;
  let device: RequestHeaders;
  beforeAll(async () => {
    test = await createTestApp();
    app = createApp(test.deps, { readLoad: () => load });
    operator = await test.operator();
    device = (await test.enrolDevice()).headers;
  });
  afterAll(() => test.close());
  const nowhere = '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44';
  const status = async (method: string, path: string, headers: RequestHeaders) =>
    (await app.request(path, { method, headers })).status;

  it.each<[Load, number, number]>([
    ['normal', 200, 404],
    ['high', 503, 404],
    ['critical', 503, 503],
  ])('that is %s reading gets %i, results %i, health 200', async (current, reading, results) => {
    load = current;
    expect(await status('GET', '/v1/models', operator)).toBe(reading);
    expect(await status('GET', '/v1/devices/me', device)).toBe(reading);
    expect(await status('HEAD', `/v1/uploads/${nowhere}`, device)).toBe(results);
    expect(await status('DELETE', `/v1/assignments/${nowhere}`, device)).toBe(results);
    expect(await status('GET', '/livez', operator)).toBe(200);
    expect(await status('GET', '/readyz', operator)).toBe(200);
  });

  it('the refusal says when to come back, not at one time for all', async () => {
    load = 'high';
    const answers = await Promise.all(Array.from({ length: 40 }, () => app.request('/v1/models')));
    expect(await answers[0]!.json()).toMatchObject({ code: 'overloaded', status: 503 });
    const waits = answers.map(({ headers }) => Number(headers.get('retry-after')));
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(2);
    expect(Math.max(...waits)).toBeLessThanOrEqual(8);
    expect(new Set(waits).size).toBeGreaterThan(1);
  });

  it('a token is refused as OAuth clients understand it: by 503', async () => {
    load = 'critical';
    const answer = await app.request('/v1/token', { method: 'POST' });
    expect(answer.status).toBe(503);
    expect(answer.headers.get('retry-after')).toBeDefined();
  });
});

describe('more uploads than are received at once', () => {
  let test: TestApp;
  let server: Listening;
  let operator: RequestHeaders;
  let store: ReturnType<typeof holdWrites>;

  beforeAll(async () => {
    test = await createTestApp({ config: loadConfig({ FEDEDGE_MAX_UPLOADS: '1' }) });
    // Uploads go on for as long as the test likes.
    store = holdWrites(test.deps.blobs);
    const app = createApp({ ...test.deps, blobs: store.blobs });
    server = await listen(app, { host: '127.0.0.1', port: 0 }, { stalledMs: 50 });
    operator = await test.operator();
  });
  afterAll(async () => {
    await server.close(0);
    await test.close();
  });

  it('wait unread, however long, and are taken; beyond the queue they get 503', async () => {
    const names = Array.from({ length: 10 }, (_, i) => `model-${i}`);
    for (const name of names) await createTestModel(test, operator, name);
    const file = smallWeights();
    const begin = (name: string) => {
      const connection = openRaw(server.port);
      const headers = {
        ...operator,
        'content-type': 'application/octet-stream',
        'content-length': String(file.length),
        'content-digest': digestField(file),
        connection: 'close',
      };
      connection.send(requestHead('POST', `/v1/models/${name}/versions`, headers));
      connection.send(file);
      return connection.ended();
    };
    const answers = names.slice(0, 9).map(begin);
    let refusal = '';
    // Who is refused depends on who came last; all others wait at the gate or before it.
    const last = begin(names[9]!);
    refusal = await Promise.race([last, ...answers]);
    expect(refusal).toMatch(/^HTTP\/1\.1 503 /);
    expect(refusal).toContain('"code":"overloaded"');
    expect(refusal.toLowerCase()).toMatch(/retry-after: [2-8]\r\n/);
    expect(store.held()).toBe(1);
    store.gate.resolve();
    const all = await Promise.all([...answers, last]);
    const taken = all.filter((answer) => /^HTTP\/1\.1 201 /.test(answer));
    expect(taken).toHaveLength(9);
  });
});
