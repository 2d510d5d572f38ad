import { once } from 'node:events';
import { expect, it } from 'vitest';
import { listen } from '../../api/http/wire/listen.ts';
import { openRaw, requestHead } from '../support/raw-http.ts';

const HOUR_MS = 3_600_000;
const app = { fetch: async () => new Response('done') };

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
