import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseTensorHeader } from '../../../api/domain/tensors.ts';
import { createMemoryStore, Declined, type Trainer } from '../../../clients/typescript/index.ts';
import { addOne, type RunningAgent, startAgent } from './support/agents.ts';
import { problem, type ScriptedFederation, startScriptedFederation } from './support/scripted-federation.ts';

let federation: ScriptedFederation;
const agents: RunningAgent[] = [];
const start = (options: Partial<Parameters<typeof startAgent>[0]> = {}): RunningAgent => {
  const agent = startAgent({ url: federation.url, ...options });
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

test('sends what training changed, with its examples and metrics', async () => {
  const { id } = federation.assign();
  const agent = start({ name: 'kitchen' });
  const { outcome } = await agent.event('settled');
  expect(outcome).toBe('accepted');
  const { file } = federation.updates.get(id)!;
  const parsed = parseTensorHeader(file);
  if (!parsed.ok) throw new Error(parsed.reason);
  expect(parsed.header.metadata).toEqual({ num_examples: '5', metrics: '{"loss":0.5}', encoding: 'f32' });
  expect(parsed.header.entries.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([
    ['kernel', 'F32', [4, 3]],
    ['bias', 'F32', [3]],
  ]);
  const data = file.subarray(parsed.header.headerBytes);
  expect(new Float32Array(new Uint8Array(data).buffer)).toEqual(new Float32Array(15).fill(1));
  expect(federation.devices.map(({ name }) => name)).toEqual(['kitchen']);
});

test('hands the model, hyperparameters and seed to the trainer', async () => {
  const trainer = addOne();
  federation.assign({ hyperparameters: { epochs: 3, learningRate: 0.1 }, seed: 99 });
  await start({ trainer }).event('settled');
  expect(trainer.tasks[0]).toMatchObject({
    model: { name: 'm' },
    hyperparameters: { epochs: 3, learningRate: 0.1 },
    seed: 99,
  });
});

test('sends bf16 only where the server takes it', async () => {
  const first = federation.assign();
  const agent = start({ encoding: 'bf16' });
  await agent.event('settled');
  const second = federation.assign({ update: { ...first.update!, encodings: ['f32'] } });
  await agent.event('settled', ({ assignmentId }) => assignmentId === second.id);
  const encodings = [...federation.updates.values()].map(({ file }) => {
    const parsed = parseTensorHeader(file);
    return parsed.ok && parsed.header.metadata.encoding;
  });
  expect(encodings).toEqual(['bf16', 'f32']);
});

test("shows in the trace of its assignment's round, and in no other", async () => {
  const traceparent = '00-0198c5a26d7e7c3b9f002b7d5a1c9e44-9f002b7d5a1c9e44-01';
  const traced = federation.assign({ traceparent });
  const agent = start();
  await agent.event('settled');
  const plain = federation.assign();
  await agent.event('settled', ({ assignmentId }) => assignmentId === plain.id);
  const sent = federation.requests('PUT', /update$/).map(({ headers }) => headers.traceparent);
  expect(sent).toEqual([traceparent, undefined]);
  expect(traced.id).not.toBe(plain.id);
});

describe('what the server refuses', () => {
  test.each(['late', 'full', 'stale', 'update_conflict', 'not_in_cohort'])(
    'drops an update that is %s, and goes on',
    async (code) => {
      const { id } = federation.assign();
      const store = createMemoryStore();
      federation.fault('PUT', /update$/, () => {
        federation.withdraw(id);
        return problem(code === 'not_in_cohort' ? 403 : 409, code);
      });
      const agent = start({ store });
      expect(await agent.event('settled')).toMatchObject({ assignmentId: id, outcome: code });
      const next = federation.assign();
      await agent.event('settled', ({ assignmentId }) => assignmentId === next.id);
      expect((await store.list()).filter((name) => name.startsWith('update-'))).toEqual([]);
      expect([...federation.updates.keys()]).toEqual([next.id]);
      expect(federation.returned.size).toBe(0);
    },
  );

  test('gives a malformed update back, since training again would end in the same', async () => {
    const { id } = federation.assign();
    const reason = 'tensor kernel is missing';
    federation.fault('PUT', /update$/, () => problem(422, 'malformed', { reason }));
    const agent = start();
    expect(await agent.event('settled')).toMatchObject({ outcome: 'malformed', reason });
    await until(() => federation.returned.has(id));
    expect(federation.returned.get(id)).toBe('failed');
  });
});

describe('what goes wrong at home', () => {
  test.each([
    ['an error', new Error('out of memory'), 'failed'],
    ['a refusal', new Declined('battery'), 'battery'],
  ])('%s of the trainer gives the assignment back', async (_name, error, reason) => {
    const { id } = federation.assign();
    const agent = start({ trainer: { train: () => Promise.reject(error) } });
    expect(await agent.event('settled')).toMatchObject({ assignmentId: id, outcome: 'returned' });
    expect(federation.returned.get(id)).toBe(reason);
  });

  test.each([
    ['not finite', { values: new Float32Array(12).fill(Number.NaN), shape: [4, 3] }],
    ['of another shape', { values: new Float32Array(12), shape: [3, 4] }],
  ])('a result that is %s is not sent', async (_name, kernel) => {
    const { id } = federation.assign();
    const trainer: Trainer = {
      train: async ({ weights }) => ({
        weights: new Map([...weights, ['kernel', kernel]]),
        numExamples: 1,
        metrics: {},
      }),
    };
    await start({ trainer }).event('settled');
    expect(federation.returned.get(id)).toBe('failed');
    expect(federation.requests('PUT', /update$/)).toEqual([]);
  });

  test('a scalar that the strategy needs and the trainer does not give', async () => {
    const base = federation.assign();
    const second = federation.assign({ update: { ...base.update!, scalars: ['num_steps'] } });
    const agent = start();
    await agent.event('settled', ({ assignmentId }) => assignmentId === second.id);
    expect(federation.returned.get(second.id)).toBe('failed');
  });
});

describe('evaluate assignments', () => {
  test('sends what the trainer measured', async () => {
    const { id } = federation.assign({ kind: 'evaluate' });
    const evaluation = { numExamples: 9, metrics: { accuracy: 0.75 } };
    const agent = start({ trainer: { ...addOne(), evaluate: async () => evaluation } });
    expect((await agent.event('settled')).outcome).toBe('accepted');
    expect(federation.evaluations.get(id)).toEqual(evaluation);
  });

  test('gives them back if the trainer cannot evaluate', async () => {
    const { id } = federation.assign({ kind: 'evaluate' });
    await start().event('settled');
    expect(federation.returned.get(id)).toBe('no_data');
  });
});

test('stops training when the deadline has passed, and sends nothing', async () => {
  const { id } = federation.assign({ deadlineAt: new Date(Date.now() - 1000).toISOString() });
  const trainer: Trainer = {
    train: ({ signal }) =>
      new Promise((_, reject) => {
        if (signal.aborted) reject(signal.reason);
        signal.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  const agent = start({ trainer });
  expect(await agent.event('settled')).toMatchObject({ assignmentId: id, outcome: 'expired' });
  await agent.stop();
  expect(federation.requests('PUT', /update$/)).toEqual([]);
  expect(federation.returned.size).toBe(0);
});

test('an agent that is stopped at work takes the assignment up again', async () => {
  const store = createMemoryStore();
  const { id } = federation.assign();
  const training = Promise.withResolvers<void>();
  const stuck: Trainer = {
    train: ({ signal }) => {
      training.resolve();
      return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    },
  };
  const first = start({ store, trainer: stuck });
  await training.promise;
  await first.stop();
  expect(federation.returned.size).toBe(0);
  await start({ store }).event('settled');
  expect(federation.updates.has(id)).toBe(true);
  expect(federation.devices).toHaveLength(1);
});

test('reports properties that have changed, and takes away those that are gone', async () => {
  const reports: Record<string, unknown>[] = [
    { battery: 0.9, examples: 5 },
    { battery: 0.9, examples: 5 },
    { battery: 0.5 },
  ];
  let asked = 0;
  const properties = () => reports[Math.min(asked++, reports.length - 1)]!;
  start({ properties });
  await until(() => federation.requests('PATCH', /me$/).length === 2 && asked > 5);
  const sent = federation.requests('PATCH', /me$/).map(({ body }) => JSON.parse(body.toString()));
  expect(sent).toEqual([
    { properties: { battery: 0.9, examples: 5 } },
    { properties: { battery: 0.5, examples: null } },
  ]);
  expect(federation.devices[0]!.properties).toEqual({ battery: 0.9, examples: 5 });
});

test('waits for approval, and ends when it is revoked', async () => {
  federation.refuseTokens('device_pending');
  const agent = start();
  await agent.event('pending');
  federation.refuseTokens(undefined);
  await agent.event('ready');
  federation.refuseTokens('device_revoked');
  federation.expireTokens();
  await expect(agent.ended).rejects.toMatchObject({
    name: 'ProblemError',
    code: 'device_revoked',
    status: 401,
  });
});

test('goes on after answers that make no sense, with growing pauses', async () => {
  for (let i = 0; i < 4; i++) federation.fault('GET', /assignment$/, () => problem(403, 'forbidden'));
  const { id } = federation.assign();
  const agent = start({ backoff: { baseMs: 100, capMs: 10_000 } });
  await agent.event('settled');
  expect(federation.updates.has(id)).toBe(true);
  expect(agent.sleeps).toEqual([50, 100, 200, 400]);
});

test('a wrong enrolment token ends the agent with the reason', async () => {
  const agent = start({ enrollmentToken: 'fedenr_wrong' });
  await expect(agent.ended).rejects.toMatchObject({ code: 'enrollment_token_invalid', requestId: 'r-1' });
});

test('a server that knows no device any more gets it registered again, with its key', async () => {
  const agent = start();
  await agent.event('ready');
  const [before] = federation.devices;
  federation.reset();
  federation.expireTokens();
  await agent.event('ready', ({ device }) => device !== before!.id);
  expect(federation.devices[0]!.key).toEqual(before!.key);
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}
