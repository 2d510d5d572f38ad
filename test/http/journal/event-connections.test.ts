import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { createApp } from '../../../api/http/app.ts';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import type { Listener } from '../../../api/store/journal/listener.ts';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createObjects } from '../../support/objects.ts';

let test: TestApp;
let headers: RequestHeaders;
let server: Listening;
const stopping = new AbortController();
let waiting = 0;

/** Counts who waits, beside the credential cache. */
function counted(listener: Listener): Listener {
  return {
    subscribe(channel, wake) {
      waiting += 1;
      const unsubscribe = listener.subscribe(channel, wake);
      return () => {
        waiting -= 1;
        unsubscribe();
      };
    },
  };
}

beforeAll(async () => {
  test = await createTestApp();
  const app = createApp({ ...test.deps, listener: counted(test.deps.listener), stopping: stopping.signal });
  server = await listen(app, { host: '127.0.0.1', port: 0 });
  headers = await test.operator();
});
afterAll(async () => {
  await server?.close(0);
  await test?.close();
});

async function open(signal?: AbortSignal) {
  const response = await fetch(`${server.url}/v1/events`, signal ? { headers, signal } : { headers });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  expect((await reader.read()).value).toMatch(/^retry: 2000\nid: \d+\n\n$/);
  return reader;
}

it('streams over a connection and leaves nothing behind when the client hangs up', async () => {
  const before = waiting;
  const hangUp = new AbortController();
  const reader = await open(hangUp.signal);
  await vi.waitFor(() => expect(waiting).toBe(before + 1));
  const { run } = await createObjects(test.deps, 'default');
  const paused = await fetch(`${server.url}/v1/runs/${run}/pause`, {
    method: 'POST',
    headers: { ...headers, 'idempotency-key': 'pause' },
  });
  expect(paused.status).toBe(200);
  expect((await reader.read()).value).toContain('event: run.paused\n');
  hangUp.abort();
  await vi.waitFor(() => expect(waiting).toBe(before));
});

it('gives concurrent requests with one key one answer', async () => {
  const { run, model } = await createObjects(test.deps, 'default');
  await fetch(`${server.url}/v1/runs/${run}/stop`, { method: 'POST', headers });
  const answers = await Promise.all(
    Array.from({ length: 8 }, () =>
      fetch(
        `${server.url}/v1/runs`,
        jsonRequest('POST', { model }, { ...headers, 'idempotency-key': 'create' }),
      ),
    ),
  );
  expect(answers.map(({ status }) => status)).toEqual(Array(8).fill(201));
  const locations = answers.map((answer) => answer.headers.get('location'));
  expect(new Set(locations).size).toBe(1);
});

it('ends every stream when the server shuts down', async () => {
  const readers = await Promise.all([open(), open()]);
  stopping.abort();
  for (const reader of readers) expect((await reader.read()).done).toBe(true);
});
