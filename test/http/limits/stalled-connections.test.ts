import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../../../api/http/wire/listen.ts';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { openRaw, type RawConnection, readSlowly, requestHead } from '../../support/raw-http.ts';
import { digestField, rawRequest, tensorFile } from '../../support/tensor-files.ts';

const PARAMETERS = 6_000_000;
let test: TestApp;
let server: Listening;
let operator: RequestHeaders;
let device: RequestHeaders;
/** The last answer, seen from the server's side. */
let outgoing: ServerResponse | undefined;

beforeAll(async () => {
  test = await createTestApp();
  const app: Pick<TestApp['app'], 'fetch'> = {
    fetch: (request, env) => {
      outgoing = (env as { outgoing: ServerResponse }).outgoing;
      return test.app.fetch(request, env);
    },
  };
  server = await listen(app, { host: '127.0.0.1', port: 0 }, { stalledMs: 250, headMs: 300 });
  operator = await test.operator();
  device = (await test.enrolDevice()).headers;
  await createTestModel(test, operator, 'stalled');
});
afterAll(async () => {
  await server.close(0);
  await test.close();
});

const file = smallWeights();
const declared = (bytes: number) => ({
  ...operator,
  'content-type': 'application/octet-stream',
  'content-length': String(bytes),
  'content-digest': digestField(file),
});
const post = (bytes: number) => requestHead('POST', '/v1/models/stalled/versions', declared(bytes));

/** Sends a byte now and then until the other side has had enough. */
function drip({ socket }: RawConnection): void {
  const timer = setInterval(() => socket.write(' '), 20);
  socket.once('close', () => clearInterval(timer));
  socket.once('end', () => clearInterval(timer));
}

describe('a connection is closed', () => {
  it.each<[string, (connection: RawConnection) => void]>([
    ['without a request', () => {}],
    ['in the middle of a head', ({ send }) => send('GET /livez HTTP/1.1\r\nhost: a\r\n')],
    [
      'with a head that never ends',
      (connection) => {
        connection.send('GET /livez HTTP/1.1\r\nx: ');
        drip(connection);
      },
    ],
    [
      'in the middle of tensors',
      ({ send }) => {
        send(post(file.length));
        send(file.subarray(0, 40));
      },
    ],
    [
      'in the middle of many tensors',
      ({ send }) => {
        send(post(10_000_000));
        send(file.subarray(0, 40));
      },
    ],
    [
      'with tensors by the byte',
      (connection) => {
        connection.send(post(10_000_000));
        connection.send(file.subarray(0, 40));
        drip(connection);
      },
    ],
    [
      'in the middle of JSON',
      ({ send }) => {
        const headers = { ...operator, 'content-type': 'application/json', 'content-length': '100' };
        send(`${requestHead('POST', '/v1/models', headers)}{"name":`);
      },
    ],
    [
      'in the middle of a form',
      ({ send }) => {
        const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '100' };
        send(`${requestHead('POST', '/v1/token', headers)}grant_type=`);
      },
    ],
  ])('%s', async (_what, begin) => {
    const connection = openRaw(server.port);
    begin(connection);
    const answer = await connection.ended();
    expect(answer).not.toMatch(/^HTTP\/1\.1 2/);
    connection.socket.destroy();
  });

  describe('by whom an answer is not taken', () => {
    const large = tensorFile([{ name: 'w', shape: [PARAMETERS] }]);
    const head = requestHead.bind(undefined, 'GET', '/v1/models/large/versions/1/weights');
    beforeAll(async () => {
      const manifest = { tensors: [{ name: 'w', shape: [PARAMETERS] }] };
      await test.app.request('/v1/models', jsonRequest('POST', { name: 'large', manifest }, operator));
      const path = '/v1/models/large/versions';
      expect((await test.app.request(path, rawRequest('POST', large, operator))).status).toBe(201);
    });
    const closed = () => new Promise((resolve) => outgoing!.once('close', resolve));

    it('at all', async () => {
      const connection = openRaw(server.port);
      connection.send(head(operator));
      await connection.until(/HTTP\/1\.1 200/);
      connection.socket.pause();
      await closed();
      expect(outgoing!.writableFinished).toBe(false);
      connection.socket.resume();
      expect((await connection.ended()).length).toBeLessThan(large.length);
    });

    it('but for some bytes now and then', async () => {
      const reader = readSlowly(server.port, head(operator));
      await reader.begun;
      await closed();
      expect(outgoing!.writableFinished).toBe(false);
      expect(reader.taken()).toBeGreaterThan(0);
      reader.stop();
    });
  });
});

describe('a connection stays', () => {
  it('for a poll that waits and a stream in which nothing happens, while others are closed', async () => {
    const poll = openRaw(server.port);
    poll.send(requestHead('GET', '/v1/assignment?wait=3', device));
    const stream = openRaw(server.port);
    stream.send(requestHead('GET', '/v1/events', operator));
    await stream.until(/id: \d+/);
    for (let turn = 0; turn < 4; turn++) {
      const slow = openRaw(server.port);
      slow.send(post(10_000));
      await slow.ended();
    }
    expect(poll.socket.readyState).toBe('open');
    expect(await poll.until(/\r\n\r\n/)).toMatch(/^HTTP\/1\.1 204 /);
    expect(stream.socket.readyState).toBe('open');
    poll.socket.destroy();
    stream.socket.destroy();
  });

  it('for a body that comes slowly but steadily, and for the next request', async () => {
    await createTestModel(test, operator, 'steady');
    const shape = [40_000];
    const manifest = { tensors: [{ name: 'w', shape }] };
    await test.app.request('/v1/models', jsonRequest('POST', { name: 'slow', manifest }, operator));
    const body = tensorFile([{ name: 'w', shape }]);
    const connection = openRaw(server.port);
    const headers = { ...declared(body.length), 'content-digest': digestField(body) };
    connection.send(requestHead('POST', '/v1/models/slow/versions', headers));
    for (let sent = 0; sent < body.length; sent += 8000) {
      connection.send(body.subarray(sent, sent + 8000));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await connection.until(/HTTP\/1\.1 201/);
    connection.send(requestHead('GET', '/v1/models/slow', operator));
    await connection.until(/"head":1/);
    connection.socket.destroy();
  });
});

describe('silence', () => {
  const SAID = 60;
  /** Never answers, says something every now and then, or answers. */
  async function fetchQuietly(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname === '/silent') return new Promise(() => {});
    if (pathname === '/answer') return new Response('answered');
    let timer: NodeJS.Timeout;
    const stream = new ReadableStream({
      start(controller) {
        timer = setInterval(() => controller.enqueue(new Uint8Array([46])), 20);
      },
      cancel: () => clearInterval(timer),
    });
    return new Response(stream);
  }

  it('closes a connection, unless either side says something', async () => {
    const limits = { stalledMs: 50, silentMs: 400 };
    const strict = await listen({ fetch: fetchQuietly }, { host: '127.0.0.1', port: 0 }, limits);
    const [silent, streaming, asking] = [openRaw(strict.port), openRaw(strict.port), openRaw(strict.port)];
    try {
      silent.send(requestHead('GET', '/silent', {}));
      streaming.send(requestHead('GET', '/stream', {}));
      // Three times as long as silence may last.
      for (let said = 0; said < SAID; said += 1) {
        asking.send(requestHead('GET', '/answer', {}));
        await sleep(20);
      }
      expect(await Promise.race([silent.ended(), sleep(5000, 'still open')])).toBe('');
      const answers = async () => (await asking.until(/answered/)).match(/answered/g)!.length;
      await expect.poll(answers).toBe(SAID);
      expect(streaming.socket.readyState).toBe('open');
      expect(asking.socket.readyState).toBe('open');
    } finally {
      for (const { socket } of [silent, streaming, asking]) socket.destroy();
      await strict.close(0);
    }
  });
});

describe('connections are counted', () => {
  it('by address: one too many is closed, the others work on, and one that ends makes room', async () => {
    const small = await listen(test.app, { host: '127.0.0.1', port: 0 }, { mostPerAddress: 2 });
    const alive = async (connection: RawConnection) => {
      connection.send(requestHead('GET', '/livez', {}));
      return connection.until(/"alive"\}/);
    };
    const [first, second] = [openRaw(small.port), openRaw(small.port)];
    await Promise.all([alive(first), alive(second)]);
    expect(await openRaw(small.port).ended()).toBe('');
    await alive(second);
    first.socket.destroy();
    for (;;) {
      const next = openRaw(small.port);
      const worked = await alive(next).then(
        () => true,
        () => false,
      );
      next.socket.destroy();
      if (worked) break;
    }
    second.socket.destroy();
    await small.close(0);
  });

  it('in all', async () => {
    const small = await listen(test.app, { host: '127.0.0.1', port: 0 }, { most: 1 });
    const first = openRaw(small.port);
    first.send(requestHead('GET', '/livez', {}));
    await first.until(/"alive"\}/);
    expect(await openRaw(small.port).ended()).toBe('');
    first.socket.destroy();
    await small.close(0);
  });
});
