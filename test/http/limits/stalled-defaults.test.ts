import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { defaultLimits, type Listening, listen, longestStopMs } from '../../../api/http/wire/listen.ts';
import { openRaw, type RawConnection, readSlowly, requestHead } from '../../support/raw-http.ts';

/* With the limits that a server has when nobody sets any: who stops is closed within 15 s, who goes on is not hurt. */

const WITHIN_MS = 15_000;
/** More than the system's buffers hold. */
const large = new Uint8Array(64 * 1024 * 1024);
const STEADY_BYTES = 6_000;
const STEADY_MS = 1_000;

let server: Listening;
/** The paths whose answers have ended, whether or not they were taken whole. */
const ends = new Set<string>();

beforeAll(async () => {
  const app: Parameters<typeof listen>[0] = {
    async fetch(request, env) {
      const { pathname } = new URL(request.url);
      (env as { outgoing: NodeJS.EventEmitter }).outgoing.once('close', () => ends.add(pathname));
      if (pathname === '/taken' || pathname === '/sipped') return new Response(large);
      if (pathname === '/poll') await sleep(WITHIN_MS);
      return new Response(`${(await request.arrayBuffer()).byteLength} bytes`);
    },
  };
  server = await listen(app, { host: '127.0.0.1', port: 0 });
});
afterAll(() => server?.close(0));

function begin(text: string): RawConnection {
  const connection = openRaw(server.port);
  connection.send(text);
  return connection;
}

/** Asks all the time, sends slowly but steadily, and waits for long, until `isOver`. */
async function beHealthy(isOver: () => boolean): Promise<void> {
  const poll = begin(requestHead('GET', '/poll', {}));
  const rounds = Math.ceil(WITHIN_MS / STEADY_MS);
  const upload = begin(
    requestHead('PUT', '/steady', { 'content-length': String((rounds + 1) * STEADY_BYTES) }),
  );
  for (let round = 0; round < rounds || !isOver(); round += 1) {
    if (round < rounds) upload.send(new Uint8Array(STEADY_BYTES));
    expect(await (await fetch(`${server.url}/small`)).text()).toBe('0 bytes');
    await sleep(STEADY_MS);
  }
  upload.send(new Uint8Array(STEADY_BYTES));
  await upload.until(new RegExp(`${(rounds + 1) * STEADY_BYTES} bytes`));
  await poll.until(/0 bytes/);
  for (const { socket } of [upload, poll]) socket.destroy();
}

it('is so by the numbers', () => {
  const { head, bodyOrReader } = longestStopMs(defaultLimits);
  expect(head).toBeLessThan(WITHIN_MS);
  expect(bodyOrReader).toBeLessThan(WITHIN_MS);
});

it('is so for a head, a body and readers side by side, beside a client that works on', async () => {
  const began = performance.now();
  let isOver = false;
  const healthy = beHealthy(() => isOver);
  const head = begin('GET /head HTTP/1.1\r\nhost: a\r\n');
  const body = begin(`${requestHead('PUT', '/body', { 'content-length': '100000' })}some of it`);
  const reader = begin(requestHead('GET', '/taken', {}));
  await reader.until(/HTTP\/1\.1 200/);
  reader.socket.pause();
  const sipping = readSlowly(server.port, requestHead('GET', '/sipped', {}));
  const took = async (end: Promise<unknown>) => {
    await end;
    return performance.now() - began;
  };
  const answerEnded = async (path: string) => {
    while (!ends.has(path)) await sleep(20);
  };
  const closed = [head.ended(), body.ended(), answerEnded('/taken'), answerEnded('/sipped')];
  const times = await Promise.all(closed.map(took));
  isOver = true;
  expect(Math.max(...times), `head, body, reader, slow reader: ${times.map(Math.round)} ms`).toBeLessThan(
    WITHIN_MS,
  );
  await healthy;
  expect(sipping.taken()).toBeGreaterThan(0);
  sipping.stop();
  for (const { socket } of [head, body, reader]) socket.destroy();
});
