import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { expect, it } from 'vitest';
import { defaultLimits, listen } from '../../api/http/wire/listen.ts';
import { openRaw, requestHead } from '../support/raw-http.ts';

const HOUR_MS = 3_600_000;
const REQUEST_START = 'http.server.request.start';
const app = { fetch: async () => new Response('done') };

/** What Node's server of `listen` has been made with, read from the first request that it gets. */
async function nodeServer(url: string): Promise<Server> {
  let server: Server | undefined;
  const onStart = (message: unknown) => {
    server = (message as { server: Server }).server;
  };
  subscribe(REQUEST_START, onStart);
  await (await fetch(url)).body?.cancel();
  unsubscribe(REQUEST_START, onStart);
  return server!;
}

it('bounds heads, requests and idle connections unless it is told otherwise', async () => {
  const listening = await listen(app, { host: '127.0.0.1', port: 0 });
  expect(await nodeServer(listening.url)).toMatchObject({
    headersTimeout: 10_000,
    connectionsCheckingInterval: 2_500,
    requestTimeout: 50 * 60_000,
    timeout: 0,
    keepAliveTimeout: 75_000,
    maxHeaderSize: 8 * 1024,
    insecureHTTPParser: false,
  });
  await listening.close(0);
});

it('looks for silence later than a poll may last, and than an idle connection is kept', () => {
  expect(defaultLimits.silentMs).toBe(90_000);
});

it('closes at once though a connection that was opened ahead has sent nothing', async () => {
  const server = await listen(app, { host: '127.0.0.1', port: 0 });
  const ahead = openRaw(server.port);
  await once(ahead.socket, 'connect');
  // Accepted after it: the server knows of both.
  const used = openRaw(server.port);
  used.send(requestHead('GET', '/', {}));
  await used.until(/done/);
  await server.close(HOUR_MS);
  expect(await ahead.ended()).toBe('');
  await used.ended();
});
