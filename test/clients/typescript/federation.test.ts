import { exportJWK, generateKeyPair } from 'jose';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import {
  createMemoryStore,
  createOperator,
  type NamedTensors,
  type Operator,
} from '../../../clients/typescript/index.ts';
import { type Service, startServer } from '../../support/acceptance/services.ts';
import { addOne, type RunningAgent, startAgent } from './support/agents.ts';

type Server = Awaited<ReturnType<typeof startServer>>;

let service: Server;
let operator: Operator;
const agents: RunningAgent[] = [];

beforeAll(async () => {
  service = await startServer();
  operator = createOperator({ url: service.url(), key: service.operatorKey });
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.stop().catch(() => undefined)));
});
afterAll(() => service?.close());

/** A device that only the runs of this model invite: those of other tests count as present for a while. */
async function start(
  model: string,
  options: Partial<Parameters<typeof startAgent>[0]> = {},
): Promise<RunningAgent> {
  const { token } = await operator.createEnrollmentToken({ name: model, labels: { model } });
  const { publicUrl: audience } = service as Service;
  const url = service.url();
  const agent = startAgent({ url, audience, enrollmentToken: token, timing: patient, ...options });
  agents.push(agent);
  return agent;
}

/** A real clock: the server's pauses are meant. */
const patient = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      signal.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    }),
};

async function createModel(name: string, value: number): Promise<void> {
  const tensors: NamedTensors = new Map([
    ['kernel', { shape: [64, 8], values: new Float32Array(512).fill(value) }],
    ['bias', { shape: [8], values: new Float32Array(8).fill(value) }],
  ]);
  const described = [...tensors].map(([name, { shape }]) => ({ name, shape: [...shape] }));
  await operator.createModel({ name, manifest: { tensors: described } });
  await operator.uploadVersion(name, tensors);
}

/** A run that takes one update a round. */
function createRun(model: string, rounds = 1) {
  const selection = { labels: { model } };
  return operator.createRun({ model, rounds, quorum: 1, capacity: 1, deadlineMs: 60_000, selection });
}

test('one agent trains a model through two rounds', async () => {
  await createModel('two-rounds', 1);
  const trainer = addOne();
  await start('two-rounds', { trainer });
  const run = await createRun('two-rounds', 2);
  const first = await operator.waitForRound(run.id, 1);
  expect(first).toMatchObject({ state: 'completed', accepted: 1, version: 2, metrics: { loss: 0.5 } });
  expect(await operator.waitForRun(run.id)).toMatchObject({ state: 'completed', completedRounds: 2 });
  const weights = await operator.downloadWeights('two-rounds', 3);
  expect([...weights.get('kernel')!.values]).toEqual(new Array(512).fill(3));
  expect(trainer.tasks.map(({ weights }) => weights.get('bias')!.values[0])).toEqual([1, 2]);
  const [update] = await operator.listUpdates(first.id);
  expect(update).toMatchObject({ numExamples: 5, state: 'folded', metrics: { loss: 0.5 } });
});

test('a device whose platform has P-256 alone', async () => {
  await createModel('p-256', 0);
  const store = createMemoryStore();
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const identity = { algorithm: 'ES256', key: await exportJWK(privateKey) };
  await store.write('identity.json', new TextEncoder().encode(JSON.stringify(identity)));
  const agent = await start('p-256', { store });
  const run = await createRun('p-256');
  expect((await agent.event('settled')).outcome).toBe('accepted');
  expect(await operator.waitForRun(run.id)).toMatchObject({ state: 'completed' });
});

test('an agent that dies before it sends sends the same bytes after its restart', async () => {
  await createModel('restart', 0);
  const store = createMemoryStore();
  const first = await start('restart', {
    store,
    onProgress: (event) => {
      if (event.type === 'trained') void first.stop();
    },
  });
  const run = await createRun('restart');
  const { digest } = await first.event('trained');
  await first.stop();
  expect((await operator.listRounds(run.id))[0]).toMatchObject({ state: 'collecting', accepted: 0 });

  const trainer = addOne();
  const second = await start('restart', { store, trainer });
  expect((await second.event('settled')).outcome).toBe('accepted');
  expect(trainer.tasks).toEqual([]);
  const round = await operator.waitForRound(run.id, 1);
  expect((await operator.listUpdates(round.id)).map((update) => update.digest)).toEqual([digest]);
});

test('an update whose answer is lost is a duplicate, and counts once', async () => {
  await createModel('lost-answer', 0);
  let lost = 0;
  const losing: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!(input instanceof Request) || input.method !== 'PUT' || lost > 0) return response;
    lost += 1;
    await response.arrayBuffer();
    throw new TypeError('fetch failed');
  };
  const agent = await start('lost-answer', { fetch: losing });
  const run = await createRun('lost-answer');
  expect((await agent.event('settled')).outcome).toBe('duplicate');
  expect(lost).toBe(1);
  expect(await operator.waitForRound(run.id, 1)).toMatchObject({ accepted: 1, state: 'completed' });
});

test('a resumable upload in parts arrives as it was', async () => {
  await createModel('parts', 0);
  const agent = await start('parts', { resumableAboveBytes: 100, partBytes: 1000 });
  const run = await createRun('parts');
  const { digest } = await agent.event('trained');
  expect((await agent.event('settled')).outcome).toBe('accepted');
  const round = await operator.waitForRound(run.id, 1);
  expect((await operator.listUpdates(round.id))[0]).toMatchObject({ digest, state: 'folded' });
});

test('agents outlast a server that is killed and comes back elsewhere', async () => {
  await createModel('kill', 0);
  const agent = await start('kill', {
    // As behind a name that stays.
    url: 'http://fededge.test',
    backoff: { baseMs: 20, capMs: 200 },
    fetch: async (input) => {
      const { method, headers, signal, url, body } = input as Request;
      const moved = url.replace('http://fededge.test', service.url());
      const bytes = body ? await (input as Request).arrayBuffer() : null;
      return fetch(moved, { method, headers, signal, body: bytes });
    },
  });
  await agent.event('ready');
  await service.server.kill9();
  await service.server.start();
  operator = createOperator({ url: service.url(), key: service.operatorKey });
  const run = await createRun('kill', 2);
  expect(await operator.waitForRun(run.id)).toMatchObject({ state: 'completed' });
});

test('an operator follows events without a gap, and stops when told', async () => {
  const stop = new AbortController();
  const types: string[] = [];
  const positions: number[] = [];
  for await (const { type, position } of operator.followEvents({ after: 0, signal: stop.signal })) {
    if (type === 'opened') continue;
    types.push(type);
    positions.push(position);
    if (type === 'run.completed') stop.abort();
  }
  expect(types).toEqual(expect.arrayContaining(['device.registered', 'model.created', 'round.completed']));
  expect(positions).toEqual(positions.toSorted((a, b) => a - b));
  expect(new Set(positions).size).toBe(positions.length);
});

test('a refused call says why', async () => {
  const refused = operator.createRun({ model: 'unknown' });
  await expect(refused).rejects.toMatchObject({
    code: 'not_found',
    status: 404,
    requestId: expect.any(String),
  });
  await expect(
    createOperator({ url: service.url(), key: 'fedop_wrong' }).listDevices(),
  ).rejects.toMatchObject({
    code: 'unauthorized',
  });
});
