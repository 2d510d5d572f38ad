import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTensorHeader } from '../../../api/domain/tensors.ts';
import { createOperator, type FederationEvent, ProblemError } from '../../../clients/typescript/index.ts';
import { encodeExamples } from '../../../clients/typescript/operator/evaluation-file.ts';

const timing = { now: () => 0, random: () => 0, sleep: async () => void (await setImmediate()) };

/** An operator whose server is these answers, one after another. */
function operatorOf(...answers: (() => Response | Promise<Response>)[]) {
  const requests: Request[] = [];
  const operator = createOperator({
    url: 'http://scripted.test/base/',
    key: 'fedop_key',
    timing,
    fetch: async (input) => {
      requests.push((input as Request).clone());
      const answer = answers.shift();
      if (!answer) throw new TypeError('fetch failed');
      return answer();
    },
  });
  return { operator, requests };
}

const json =
  (body: object, status = 200) =>
  () =>
    Response.json(body, { status });
const down = () => Promise.reject(new TypeError('fetch failed'));

test('asks below the path of the URL, with its key', async () => {
  const { operator, requests } = operatorOf(json({ id: 'r' }));
  await operator.getRun('r');
  expect(requests[0]!.url).toBe('http://scripted.test/base/v1/runs/r');
  expect(requests[0]!.headers.get('authorization')).toBe('bearer fedop_key');
});

test('a repeated creation has the key of the first attempt, another one a key of its own', async () => {
  const { operator, requests } = operatorOf(down, json({ id: 'r' }, 201), json({ id: 's' }, 201));
  await operator.createRun({ model: 'm' });
  await operator.createRun({ model: 'm' });
  const keys = requests.map(({ headers }) => headers.get('idempotency-key'));
  expect(keys[0]).toBeTruthy();
  expect(keys[1]).toBe(keys[0]);
  expect(keys[2]).not.toBe(keys[0]);
});

test('gives up after the attempts that it was given', async () => {
  const { operator, requests } = operatorOf();
  await expect(operator.getRun('r')).rejects.toMatchObject({ name: 'ConnectionError' });
  expect(requests).toHaveLength(8);
});

test.each([
  [json({ code: 'not_found', title: 'There is no such thing', requestId: 'q' }, 404), 'not_found', 'q'],
  [() => new Response('<html>', { status: 403, headers: { 'x-request-id': 'p' } }), 'http_403', 'p'],
])('a refusal is thrown at once, as a problem', async (answer, code, requestId) => {
  const { operator, requests } = operatorOf(answer);
  const error = await operator.getRun('r').catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ProblemError);
  expect(error).toMatchObject({ code, requestId });
  expect(requests).toHaveLength(1);
});

test('reads lists to their end', async () => {
  const { operator, requests } = operatorOf(
    json({ items: [{ id: 1 }], nextCursor: 'c' }),
    json({ items: [{ id: 2 }] }),
  );
  expect(await operator.listDevices()).toEqual([{ id: 1 }, { id: 2 }]);
  expect(requests.map(({ url }) => new URL(url).searchParams.get('cursor'))).toEqual([null, 'c']);
});

describe('events', () => {
  const event = (position: number, type = 'round.completed') => ({
    position,
    type,
    subject: { run: 'ü' },
    createdAt: '2026-01-01T00:00:00.000Z',
  });
  const render = (value: FederationEvent) =>
    `id: ${value.position}\nevent: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`;
  const text = `retry: 2000\nid: 7\n\n${render(event(8))}: \n\n${render(event(9))}`;

  function streamOf(chunks: Uint8Array[]) {
    return () =>
      new Response(
        new ReadableStream({
          start(controller) {
            for (const chunk of chunks) controller.enqueue(chunk);
            controller.close();
          },
        }),
      );
  }

  test('are the same however the network cuts them', async () => {
    const bytes = new TextEncoder().encode(text);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(fc.nat(bytes.length), { maxLength: 6 }), async (cuts) => {
        const edges = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
        const chunks = edges.slice(1).map((end, i) => bytes.subarray(edges[i], end));
        const { operator } = operatorOf(streamOf(chunks));
        const seen = [];
        for await (const found of operator.followEvents()) {
          seen.push(found);
          if (seen.length === 3) break;
        }
        expect(seen.map(({ type }) => type)).toEqual(['opened', 'round.completed', 'round.completed']);
        expect(seen.slice(1)).toEqual([event(8), event(9)]);
      }),
    );
  });

  test('go on behind the last one after a cut connection', async () => {
    const encode = (value: string) => [new TextEncoder().encode(value)];
    const { operator, requests } = operatorOf(
      streamOf(encode(text)),
      down,
      streamOf(encode(`id: 9\n\n${render(event(10))}`)),
    );
    const positions = [];
    for await (const { type, position } of operator.followEvents({ types: ['round.completed', 'a.b'] })) {
      if (type !== 'opened') positions.push(position);
      if (position === 10) break;
    }
    expect(positions).toEqual([8, 9, 10]);
    const asked = requests.map(({ url }) => new URL(url).searchParams);
    expect(asked.map((query) => query.get('after'))).toEqual([null, '9', '9']);
    expect(asked[0]!.get('types')).toBe('round.completed,a.b');
  });

  test('end with the refusal of the server', async () => {
    const { operator } = operatorOf(json({ code: 'unauthorized' }, 401));
    await expect(operator.followEvents().next()).rejects.toMatchObject({ code: 'unauthorized' });
  });
});

describe('waiting for a round', () => {
  const opened = () => new Response('id: 0\n\n');
  const run = (state: string) => json({ id: 'r', state });
  const rounds = (...states: string[]) =>
    json({ items: states.map((state, i) => ({ number: i + 1, state })) });

  test('looks again when something happened', async () => {
    const { operator } = operatorOf(
      () => new Response(`id: 0\n\nid: 1\ndata: {"position":1,"type":"round.completed"}\n\n`),
      run('active'),
      rounds('collecting'),
      run('active'),
      rounds('completed'),
    );
    expect(await operator.waitForRound('r', 1)).toMatchObject({ state: 'completed' });
  });

  test('rejects when the run is over without it', async () => {
    const { operator } = operatorOf(opened, run('stopped'), rounds('failed'));
    await expect(operator.waitForRound('r', 2)).rejects.toThrow('stopped without a round 2');
  });
});

test('an evaluation file has inputs and labels as they are', () => {
  const y = Int32Array.of(3, 1);
  const file = encodeExamples({ x: { shape: [2, 3], values: Uint8Array.of(1, 2, 3, 4, 5, 6) }, y });
  const parsed = parseTensorHeader(file);
  if (!parsed.ok) throw new Error(parsed.reason);
  expect(parsed.header.entries).toMatchObject([
    { name: 'x', dtype: 'U8', shape: [2, 3] },
    { name: 'y', dtype: 'I32', shape: [2] },
  ]);
  const data = file.slice(parsed.header.headerBytes);
  expect([...data.subarray(0, 6)]).toEqual([1, 2, 3, 4, 5, 6]);
  expect([...new Int32Array(data.slice(6).buffer)]).toEqual([3, 1]);
  expect(() => encodeExamples({ x: { shape: [2, 4], values: new Uint8Array(6) }, y })).toThrow('as long');
});
