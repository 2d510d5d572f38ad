import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AgentStore, createMemoryStore } from '../../../clients/typescript/index.ts';
import { createFileStore } from '../../../clients/typescript/store/file-store.ts';
import { addOne, type RunningAgent, startAgent } from './support/agents.ts';
import { problem, type ScriptedFederation, startScriptedFederation } from './support/scripted-federation.ts';

let federation: ScriptedFederation;
const agents: RunningAgent[] = [];
const start = (options: Partial<Parameters<typeof startAgent>[0]> = {}): RunningAgent => {
  const agent = startAgent({ url: federation.url, backoff: { baseMs: 100, capMs: 1000 }, ...options });
  agents.push(agent);
  return agent;
};

beforeEach(async () => {
  federation = await startScriptedFederation();
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.stop().catch(() => undefined)));
  await federation.close();
});

describe('an answer that is lost', () => {
  test('of a registration: one device, with one key', async () => {
    federation.fault('POST', /devices$/, 'drop answer');
    await start().event('ready');
    const registrations = federation
      .requests('POST', /devices$/)
      .map(({ body }) => JSON.parse(body.toString()));
    expect(registrations).toHaveLength(2);
    expect(registrations[0].key).toEqual(registrations[1].key);
    expect(federation.devices).toHaveLength(1);
  });

  test('of a registration, and the process dies: still one device', async () => {
    const store = createMemoryStore();
    federation.fault('POST', /devices$/, 'drop answer');
    const first = start({ store });
    await first.event('retrying');
    await first.stop();
    const { device } = await start({ store }).event('ready');
    expect(federation.devices.map(({ id }) => id)).toEqual([device]);
  });

  test('of a token: the next request has an assertion of its own', async () => {
    federation.fault('POST', /token$/, 'drop answer');
    await start().event('ready');
    const assertions = federation.requests('POST', /token$/).map(({ body }) => body.toString());
    expect(new Set(assertions).size).toBe(2);
  });

  test('of an update: the same bytes again, and the first receipt', async () => {
    const { id } = federation.assign();
    federation.fault('PUT', /update$/, 'drop answer');
    const trainer = addOne();
    expect((await start({ trainer }).event('settled')).outcome).toBe('duplicate');
    const [first, second] = federation.requests('PUT', /update$/);
    expect(second!.body.equals(first!.body)).toBe(true);
    expect(trainer.tasks).toHaveLength(1);
    expect([...federation.updates.keys()]).toEqual([id]);
  });

  test.each([
    ['GET', /assignment$/],
    ['GET', /models\/m$/],
    ['GET', /weights$/],
  ])('of %s %s', async (method, path) => {
    federation.assign();
    federation.fault(method, path, 'drop answer');
    expect((await start().event('settled')).outcome).toBe('accepted');
    expect(federation.updates.size).toBe(1);
  });
});

describe.each(['drop request', 'drop answer'] as const)('%s', (fault) => {
  test('of an evaluation: it is there in the end', async () => {
    const { id } = federation.assign({ kind: 'evaluate' });
    federation.fault('PUT', /evaluation$/, fault);
    const evaluate = async () => ({ numExamples: 1, metrics: {} });
    await start({ trainer: { ...addOne(), evaluate } }).event('settled');
    expect(federation.evaluations.has(id)).toBe(true);
  });

  test('of giving back: it is given back in the end', async () => {
    const { id } = federation.assign({ kind: 'evaluate' });
    federation.fault('DELETE', /assignments/, fault);
    expect((await start().event('settled')).outcome).toBe('returned');
    expect(federation.returned.get(id)).toBe('no_data');
  });
});

test('stays away as long as Retry-After says, and a random while longer', async () => {
  federation.assign();
  federation.fault('GET', /weights$/, () => ({
    ...problem(503, 'unavailable'),
    headers: { 'retry-after': '7' },
  }));
  federation.fault('PUT', /update$/, () => ({ status: 429, headers: { 'retry-after': '11' } }));
  const agent = start();
  await agent.event('settled');
  const delays = agent.events.flatMap((event) => (event.type === 'retrying' ? [event.delayMs] : []));
  // Half of the first attempt's bound on top, with the dice of the test.
  expect(delays).toEqual([7050, 11_050]);
  expect(agent.sleeps).toEqual(expect.arrayContaining(delays));
});

test('a refused access token is renewed, once', async () => {
  const agent = start();
  await agent.event('ready');
  federation.expireTokens();
  const { id } = federation.assign();
  await agent.event('settled');
  expect(federation.updates.has(id)).toBe(true);
  expect(federation.issued).toHaveLength(2);
  expect(agent.events.filter(({ type }) => type === 'retrying')).toEqual([]);
});

test.each([
  ['ahead', -7200_000],
  ['behind', 7200_000],
])('a clock that is two hours %s is set by the server', async (_name, skewMs) => {
  await federation.close();
  federation = await startScriptedFederation({ skewMs });
  // Its deadline has passed, or lies far ahead, by the device's own clock.
  const { id } = federation.assign();
  await start().event('settled');
  expect(federation.updates.has(id)).toBe(true);
  expect(federation.requests('POST', /devices$/)).toHaveLength(2);
  expect(federation.requests('POST', /token$/)).toHaveLength(1);
});

describe('downloads', () => {
  test('a cut one goes on where it broke off', async () => {
    federation.assign();
    const { file, digest } = federation.publish(2);
    federation.assign();
    federation.fault('GET', /2\/weights$/, { cutAnswerAfter: 100 });
    const agent = start();
    await agent.event('downloaded', ({ assignment }) => assignment.baseVersion === 2);
    const [first, second] = federation.requests('GET', /2\/weights$/);
    expect(first!.headers.range).toBeUndefined();
    expect(second!.headers).toMatchObject({ range: 'bytes=100-', 'if-range': `"${digest}"` });
    expect(file.length).toBeGreaterThan(100);
  });

  test('a server that ignores the range sends the whole again', async () => {
    const { file } = federation.publish(3);
    federation.assign();
    federation.fault('GET', /weights$/, { cutAnswerAfter: 100 });
    federation.fault('GET', /weights$/, () => ({ status: 200, body: file }));
    const [trainer, store] = [addOne(), createMemoryStore()];
    const first = start({ trainer, store });
    await first.event('settled');
    expect(trainer.tasks[0]!.weights.get('bias')!.values).toEqual(new Float32Array(3).fill(3));
    await first.stop();
    federation.assign();
    expect((await start({ store }).event('downloaded')).cached).toBe(true);
  });

  test('bytes that do not have their digest are fetched again, not used', async () => {
    const { file } = federation.publish(3);
    federation.assign();
    const spoilt = Buffer.from(file);
    spoilt[spoilt.length - 1]! ^= 1;
    federation.fault('GET', /weights$/, () => ({ status: 200, body: spoilt }));
    const trainer = addOne();
    await start({ trainer }).event('settled');
    expect(trainer.tasks[0]!.weights.get('bias')!.values).toEqual(new Float32Array(3).fill(3));
    expect(federation.requests('GET', /weights$/)).toHaveLength(2);
  });

  test('the same weights are fetched once, also by the next process; others take their place', async () => {
    const store = createMemoryStore();
    federation.assign();
    const first = start({ store });
    await first.event('settled');
    await first.stop();
    federation.assign();
    const second = start({ store });
    expect((await second.event('downloaded')).cached).toBe(true);
    expect(federation.requests('GET', /weights$/)).toHaveLength(1);
    const { digest } = federation.publish(5);
    const last = federation.assign();
    await second.event('settled', ({ assignmentId }) => assignmentId === last.id);
    expect((await store.list()).filter((name) => name.startsWith('weights-'))).toEqual([`weights-${digest}`]);
  });

  test('a download that a crash cut goes on in the next process', async () => {
    const store = createMemoryStore();
    const { file, digest } = federation.publish(2);
    await store.append(`weights-${digest}`, new Uint8Array(file.subarray(0, 60)));
    federation.assign();
    const agent = start({ store });
    await agent.event('settled');
    expect(federation.requests('GET', /weights$/).map(({ headers }) => headers.range)).toEqual(['bytes=60-']);
  });
});

describe.each(['memory', 'files'])('an agent that dies between training and sending (%s)', (kind) => {
  let folder: string;
  let store: AgentStore;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fededge-agent-'));
    store = kind === 'memory' ? createMemoryStore() : await createFileStore(folder);
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test.each([
    ['is sent the first time', 'drop request', 'accepted'],
    ['had arrived', 'drop answer', 'duplicate'],
  ] as const)('sends the same bytes after its restart; the update %s', async (_name, fault, outcome) => {
    const { id } = federation.assign();
    federation.fault('PUT', /update$/, fault);
    const first = start({ store });
    const { digest } = await first.event('trained');
    await first.event('retrying');
    await first.stop();
    const before = federation.updates.size;

    const trainer = addOne();
    const second = start({ store, trainer });
    const settled = await second.event('settled');
    expect(before).toBe(fault === 'drop answer' ? 1 : 0);
    expect(settled).toMatchObject({ assignmentId: id, outcome });
    expect(trainer.tasks).toEqual([]);
    expect(federation.updates.get(id)!.digest).toBe(digest);
    expect((await store.list()).filter((name) => name.startsWith('update-'))).toEqual([]);
  });

  test('drops an update that came too late for its round', async () => {
    const { id } = federation.assign();
    federation.fault('PUT', /update$/, 'drop request');
    const first = start({ store });
    await first.event('retrying');
    await first.stop();
    federation.withdraw(id);
    federation.fault('PUT', /update$/, () => problem(409, 'late'));
    expect(await start({ store }).event('settled')).toMatchObject({ assignmentId: id, outcome: 'late' });
    expect((await store.list()).filter((name) => name.startsWith('update-'))).toEqual([]);
  });
});

describe('large updates', () => {
  const large = { resumableAboveBytes: 64, partBytes: 80 };

  test('go in parts', async () => {
    const { id } = federation.assign();
    const agent = start(large);
    const { digest, bytes } = await agent.event('trained');
    expect((await agent.event('settled')).outcome).toBe('accepted');
    expect(federation.updates.get(id)!.digest).toBe(digest);
    const parts = federation.requests('PATCH', /uploads/);
    expect(parts.map(({ body }) => body.length)).toEqual(sizes(bytes, 80));
    expect(parts.every(({ headers }) => headers['content-type'] === 'application/partial-upload')).toBe(true);
    expect(federation.requests('PUT', /update$/)).toEqual([]);
  });

  test('a cut part goes on where it broke off', async () => {
    federation.assign();
    federation.fault('PATCH', /uploads/, { cutRequestAfter: 30 });
    const agent = start(large);
    const { digest } = await agent.event('trained');
    await agent.event('settled');
    expect([...federation.updates.values()].map((update) => update.digest)).toEqual([digest]);
    const offsets = federation.requests('PATCH', /uploads/).map(({ headers }) => headers['upload-offset']);
    expect(offsets.slice(0, 3)).toEqual(['0', '30', '110']);
  });

  test.each([
    ['only', 1e6],
    ['second of two', 200],
  ])('the lost answer to the %s part gets the first receipt', async (_name, partBytes) => {
    federation.assign();
    if (partBytes < 1e6) federation.fault('PATCH', /uploads/, 'pass');
    federation.fault('PATCH', /uploads/, 'drop answer');
    const agent = start({ resumableAboveBytes: 64, partBytes });
    const { bytes } = await agent.event('trained');
    expect((await agent.event('settled')).outcome).toBe('duplicate');
    expect(federation.updates.size).toBe(1);
    expect(sent(federation)).toBe(bytes);
  });

  test('go on after a restart; an upload that the server has dropped begins anew', async () => {
    for (const forget of [false, true]) {
      const store = createMemoryStore();
      const { id } = federation.assign();
      federation.fault('PATCH', /uploads/, { cutRequestAfter: 30 });
      const first = start({ store, ...large });
      await first.event('retrying');
      await first.stop();
      const begun = federation.requests('POST', /update$/).length;
      if (forget) federation.fault('HEAD', /uploads/, () => ({ status: 404 }));
      const second = start({ store, ...large });
      await second.event('settled');
      await second.stop();
      expect(federation.updates.has(id)).toBe(true);
      expect(federation.requests('POST', /update$/)).toHaveLength(forget ? begun + 1 : begun);
    }
  });
});

function sizes(bytes: number, part: number): number[] {
  const whole = Array.from({ length: Math.floor(bytes / part) }, () => part);
  return bytes % part === 0 ? whole : [...whole, bytes % part];
}

function sent({ requests }: ScriptedFederation): number {
  return requests('PATCH', /uploads/).reduce((sum, { body }) => sum + body.length, 0);
}
