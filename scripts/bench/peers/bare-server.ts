/**
 * What FedEdge is held against: node:http and nothing else. `PUT /pipe/N` pipes the body to a file; `PUT /sync/N` hashes
 * it by a stream, too, compares the digest and syncs the file; `PUT /commit/N` commits a row for it besides (it needs a
 * DATABASE_URL); `GET /memory/BYTES` and `GET /file/BYTES` send so many bytes, with an ETag; `GET /wait/SECONDS` holds the
 * request. Files go to the folder of the first argument.
 */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, existsSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import postgres from 'postgres';

type Handler = (incoming: IncomingMessage, outgoing: ServerResponse, name: string) => Promise<void> | void;

const folder = process.argv[2]!;
const { DATABASE_URL } = process.env;
const sql = DATABASE_URL === undefined ? undefined : postgres(DATABASE_URL, { onnotice: () => undefined });
await sql?.unsafe('create table if not exists bare_files (name text, bytes bigint)');
const inMemory = new Map<string, Buffer>();
const ETAG = `"${'0'.repeat(64)}"`;
const EMPTY = { 'content-length': '0' };

const handlers: Record<string, Handler> = {
  async pipe(incoming, outgoing, name) {
    await pipeline(incoming, createWriteStream(join(folder, `pipe-${name}`)));
    outgoing.writeHead(201, EMPTY).end();
  },
  async sync(incoming, outgoing, name) {
    outgoing.writeHead((await keep(incoming, name)) ? 201 : 400, EMPTY).end();
  },
  async commit(incoming, outgoing, name) {
    const isWhole = await keep(incoming, name);
    if (isWhole) await sql!`insert into bare_files values (${name}, ${incoming.headers['content-length']!})`;
    outgoing.writeHead(isWhole ? 201 : 400, EMPTY).end();
  },
  memory(incoming, outgoing, bytes) {
    if (isKnown(incoming, outgoing)) return;
    const content = inMemory.get(bytes) ?? Buffer.alloc(Number(bytes), 7);
    inMemory.set(bytes, content);
    outgoing.writeHead(200, describe(bytes)).end(content);
  },
  async file(incoming, outgoing, bytes) {
    if (isKnown(incoming, outgoing)) return;
    const path = join(folder, `file-${bytes}`);
    if (!existsSync(path)) writeFileSync(path, Buffer.alloc(Number(bytes), 7));
    outgoing.writeHead(200, describe(bytes));
    await pipeline(createReadStream(path), outgoing);
  },
  wait(_incoming, outgoing, seconds) {
    const timer = setTimeout(() => outgoing.writeHead(204).end(), Number(seconds) * 1000);
    outgoing.once('close', () => clearTimeout(timer));
  },
};

/** Hashes, writes and syncs by streams. False: it is not what it was declared to be. */
async function keep(incoming: IncomingMessage, name: string): Promise<boolean> {
  const hash = createHash('sha256');
  const target = createWriteStream(join(folder, `sync-${name}`), { flush: true });
  await pipeline(
    incoming,
    async function* (chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    target,
  );
  const digest = `sha-256=:${hash.digest('base64')}:`;
  return digest === (incoming.headers['content-digest'] ?? digest);
}

function isKnown(incoming: IncomingMessage, outgoing: ServerResponse): boolean {
  if (incoming.headers['if-none-match'] !== ETAG) return false;
  outgoing.writeHead(304, { etag: ETAG }).end();
  return true;
}

function describe(bytes: string) {
  return { 'content-type': 'application/octet-stream', 'content-length': bytes, etag: ETAG };
}

const server = createServer({ keepAliveTimeout: 75_000 }, (incoming, outgoing) => {
  const [, kind = '', name = ''] = incoming.url!.split('/');
  Promise.resolve(handlers[kind]?.(incoming, outgoing, name)).catch((error: unknown) => {
    console.error(error);
    outgoing.destroy();
  });
});
server.listen(0, '127.0.0.1', () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }));
});
process.once('disconnect', () => process.exit());
