import { setTimeout as sleep } from 'node:timers/promises';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readDigest, writeDigest } from '../../api/http/wire/digests.ts';
import { type Listening, listen } from '../../api/http/wire/listen.ts';
import { blobs } from '../../api/store/schema.ts';
import { createTestApp, jsonRequest, type RequestHeaders, type TestApp } from '../support/app.ts';
import { createTestModel, smallWeights } from '../support/models.ts';
import { openRaw, requestHead } from '../support/raw-http.ts';
import { digestField, rawRequest, sha256, tensorFile } from '../support/tensor-files.ts';

let test: TestApp;
let server: Listening;
let operator: RequestHeaders;
beforeAll(async () => {
  test = await createTestApp();
  operator = await test.operator();
  server = await listen(test.app, { host: '127.0.0.1', port: 0 });
});
afterAll(async () => {
  await server.close(0);
  await test.close();
});

const file = smallWeights(1);
const declared = (body: Uint8Array, headers: Record<string, string> = {}) => ({
  ...operator,
  'content-type': 'application/octet-stream',
  'content-length': String(body.length),
  'content-digest': digestField(body),
  ...headers,
});
const post = (model: string, headers: Record<string, string>) =>
  requestHead('POST', `/v1/models/${model}/versions`, headers);
const countAnswers = (text: string) => text.match(/HTTP\/1\.1 \d{3}/g)?.length ?? 0;
const headOf = async (model: string) =>
  (
    (await (await test.app.request(`/v1/models/${model}`, { headers: operator })).json()) as {
      head: number | null;
    }
  ).head;

async function eventually<T>(look: () => Promise<T>, isRight: (seen: T) => boolean): Promise<T> {
  for (;;) {
    const seen = await look();
    if (isRight(seen)) return seen;
    await sleep(10);
  }
}

describe('Expect: 100-continue', () => {
  it('is answered when the body is wanted, and the body is taken', async () => {
    await createTestModel(test, operator, 'continued');
    const connection = openRaw(server.port);
    connection.send(post('continued', declared(file, { expect: '100-continue' })));
    expect(await connection.until(/\r\n\r\n/)).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    connection.send(file);
    expect(await connection.until(/\}$/)).toMatch(/HTTP\/1\.1 201 Created/);
    connection.socket.destroy();
  });

  it('is answered by the refusal alone where there is one', async () => {
    const connection = openRaw(server.port);
    connection.send(post('continued', declared(file, { expect: '100-continue', 'content-digest': 'none' })));
    const answer = await connection.ended();
    expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request/);
    expect(answer).toContain('"code":"invalid_digest"');
    expect(countAnswers(answer)).toBe(1);
  });

  it('works for JSON bodies too', async () => {
    const body = JSON.stringify({ name: 'asked', manifest: { tensors: [{ name: 'w', shape: [1] }] } });
    const connection = openRaw(server.port);
    const headers = { 'content-type': 'application/json', 'content-length': String(body.length) };
    connection.send(requestHead('POST', '/v1/models', { ...operator, ...headers, expect: '100-continue' }));
    await connection.until(/^HTTP\/1\.1 100 Continue/);
    connection.send(body);
    await connection.until(/HTTP\/1\.1 201 Created/);
    connection.socket.destroy();
  });
});

describe('a refusal comes before the body', () => {
  it.each<[string, Record<string, string>, number, string]>([
    ['nobody', { authorization: '' }, 401, 'unauthorized'],
    ['too large', { 'content-length': '999999999999' }, 413, 'too_large'],
    ['no digest', { 'content-digest': 'md5=:AAAA:' }, 400, 'invalid_digest'],
    ['another type', { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
  ])('%s', async (_what, headers, status, code) => {
    const connection = openRaw(server.port);
    connection.send(post('continued', declared(file, { 'content-length': '50000000', ...headers })));
    const answer = await connection.ended();
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(answer.toLowerCase()).toContain('connection: close');
    expect(answer).toContain(`"code":"${code}"`);
    expect(answer.endsWith('}')).toBe(true);
  });

  it('without a length: a chunked body is not read', async () => {
    const { 'content-length': _, ...headers } = declared(file);
    const connection = openRaw(server.port);
    connection.send(post('continued', { ...headers, 'transfer-encoding': 'chunked' }));
    expect(await connection.ended()).toMatch(/^HTTP\/1\.1 411 /);
  });

  it('whole, to a client that sends on without listening', async () => {
    const connection = openRaw(server.port);
    connection.socket.pause();
    connection.send(post('continued', declared(file, { 'content-length': '50000000', authorization: '' })));
    const piece = new Uint8Array(64 * 1024);
    for (let sent = 0; sent < 3_000_000 && !connection.socket.destroyed; sent += piece.length) {
      connection.send(piece);
    }
    connection.socket.resume();
    const answer = await connection.ended();
    expect(answer).toMatch(/^HTTP\/1\.1 401 /);
    expect(answer).toContain('"code":"unauthorized"');
  });

  it('and what follows in the body is not taken for a request', async () => {
    const inner = requestHead('GET', '/v1/models', operator);
    const connection = openRaw(server.port);
    connection.send(post('continued', declared(file, { 'content-length': '100000', authorization: '' })));
    await connection.until(/HTTP\/1\.1 401/);
    connection.send(inner);
    expect(countAnswers(await connection.ended())).toBe(1);
  });

  it('also the answer to a GET that announces a body', async () => {
    const connection = openRaw(server.port);
    connection.send(requestHead('GET', '/v1/models/continued', { ...operator, 'content-length': '1000' }));
    const answer = await connection.ended();
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer.toLowerCase()).toContain('connection: close');
  });

  it('also when the body shows its fault in the middle', async () => {
    await createTestModel(test, operator, 'middle');
    const wrong = tensorFile([{ name: 'other', shape: [200_000] }]);
    const connection = openRaw(server.port);
    connection.send(post('middle', declared(wrong)));
    connection.send(wrong.subarray(0, 100_000));
    const answer = await connection.ended();
    expect(answer).toMatch(/^HTTP\/1\.1 422 /);
    expect(answer).toContain('tensor w is missing');
  });
});

describe('a connection', () => {
  it('goes on after uploads that were read, and after a small body that nobody read', async () => {
    await createTestModel(test, operator, 'kept');
    const connection = openRaw(server.port);
    for (const fill of [1, 2]) {
      const body = smallWeights(fill);
      connection.send(post('kept', declared(body)));
      connection.send(body);
      await connection.until(new RegExp(`"version":${fill},`));
    }
    connection.send(Buffer.concat([Buffer.from(post('kept', declared(file, { authorization: '' }))), file]));
    await connection.until(/HTTP\/1\.1 401/);
    connection.send(requestHead('GET', '/v1/models/kept', operator));
    expect(await connection.until(/"head":2/)).toMatch(/HTTP\/1\.1 200 OK/);
    connection.socket.destroy();
  });

  it('with a header over 8 KiB is refused', async () => {
    const connection = openRaw(server.port);
    connection.send(requestHead('GET', '/v1/models', { ...operator, 'x-long': 'x'.repeat(9000) }));
    expect(await connection.ended()).toMatch(/^HTTP\/1\.1 431 /);
  });

  it('with two lengths is refused', async () => {
    const connection = openRaw(server.port);
    connection.send(post('kept', { ...declared(file), 'transfer-encoding': 'chunked' }));
    expect(await connection.ended()).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe('a body that is cut', () => {
  it.each([0, 1, 50, file.length - 1])(
    'after %i bytes leaves nothing, and the next one works',
    async (sent) => {
      const model = `cut-${sent}`;
      await createTestModel(test, operator, model);
      const connection = openRaw(server.port);
      connection.send(post(model, declared(file, { expect: '100-continue' })));
      await connection.until(/100 Continue/);
      connection.send(file.subarray(0, sent));
      // The body is being read: its blob is announced.
      const writing = () => test.deps.db.pool.select().from(blobs).where(eq(blobs.state, 'writing'));
      await eventually(writing, (rows) => rows.length === 1);
      connection.socket.resetAndDestroy();
      await eventually(writing, (rows) => rows.length === 0);
      expect(await headOf(model)).toBeNull();
      const answer = await test.app.request(
        `/v1/models/${model}/versions`,
        rawRequest('POST', file, operator),
      );
      expect(answer.status).toBe(201);
    },
  );

  it('by half a close is incomplete', async () => {
    await createTestModel(test, operator, 'half');
    const connection = openRaw(server.port);
    connection.send(post('half', declared(file)));
    connection.socket.end(file.subarray(0, 40));
    await connection.ended();
    expect(await headOf('half')).toBeNull();
  });
});

describe('a large download', () => {
  const shape = [2_500_000];
  const large = tensorFile([{ name: 'w', shape, values: Array.from({ length: shape[0]! }, (_, i) => i) }]);
  beforeAll(async () => {
    const manifest = { tensors: [{ name: 'w', shape }] };
    await test.app.request('/v1/models', jsonRequest('POST', { name: 'large', manifest }, operator));
    const init = rawRequest('POST', large, operator);
    expect((await fetch(`${server.url}/v1/models/large/versions`, init)).status).toBe(201);
  });
  const url = () => `${server.url}/v1/models/large/versions/1/weights`;

  it('is the same for eight that come at once, and for a slow one', async () => {
    const slow = async () => {
      const response = await fetch(url(), { headers: operator });
      const parts: Uint8Array[] = [];
      for await (const chunk of response.body!) {
        parts.push(chunk);
        await sleep(1);
      }
      return sha256(Buffer.concat(parts));
    };
    const quick = async () =>
      sha256(new Uint8Array(await (await fetch(url(), { headers: operator })).arrayBuffer()));
    const digests = await Promise.all([slow(), ...Array.from({ length: 7 }, quick)]);
    expect(new Set(digests)).toEqual(new Set([sha256(large)]));
  });

  it('goes on where it was cut', async () => {
    const first = await fetch(url(), { headers: operator });
    const reader = first.body!.getReader();
    const start = (await reader.read()).value!;
    await reader.cancel();
    const etag = first.headers.get('etag')!;
    const headers = { ...operator, range: `bytes=${start.length}-`, 'if-range': etag };
    const rest = await fetch(url(), { headers });
    expect(rest.status).toBe(206);
    expect(sha256(Buffer.concat([start, new Uint8Array(await rest.arrayBuffer())]))).toBe(sha256(large));
  });

  it('tells its size by HEAD', async () => {
    const response = await fetch(url(), { method: 'HEAD', headers: operator });
    expect(response.headers.get('content-length')).toBe(String(large.length));
    expect((await response.arrayBuffer()).byteLength).toBe(0);
  });
});

it('a server that closes lets requests end and ends idle connections', async () => {
  await createTestModel(test, operator, 'closing');
  const closing = await listen(test.app, { host: '127.0.0.1', port: 0 });
  const idle = openRaw(closing.port);
  idle.send(requestHead('GET', '/v1/models/closing', operator));
  await idle.until(/"head":null/);
  const busy = openRaw(closing.port);
  busy.send(post('closing', declared(file, { expect: '100-continue' })));
  await busy.until(/100 Continue/);
  const closed = closing.close(60_000);
  await idle.ended();
  busy.send(file);
  expect(await busy.ended()).toMatch(/HTTP\/1\.1 201 Created/);
  await closed;
  expect(await headOf('closing')).toBe(1);
});

describe('Content-Digest', () => {
  const hex = sha256(file);
  it.each([
    writeDigest(hex),
    ` ${writeDigest(hex)}`,
    `sha-512=:AAAA:, ${writeDigest(hex)}, md5=:AAAA:`,
    `${writeDigest(hex)};p=1`,
    `${writeDigest('0'.repeat(64))}, ${writeDigest(hex)}`,
  ])('%s is read', (field) => {
    expect(readDigest(field)).toBe(hex);
  });

  it.each([
    undefined,
    '',
    'sha-256',
    `sha-256="${hex}"`,
    `SHA-256=${hex}`,
    'sha-256=:AAAA:',
    `sha-256=${writeDigest(hex)}`,
    `${writeDigest(hex)}x`,
    `${writeDigest(hex)}, sha-256=:broken:`,
  ])('%s is not', (field) => {
    expect(readDigest(field)).toBeUndefined();
  });
});
