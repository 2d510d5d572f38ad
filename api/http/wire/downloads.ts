import type { ServerResponse } from 'node:http';
import type { Context } from 'hono';
import { FedEdgeError } from '../../domain/errors.ts';
import type { BlobStore } from '../../store/blobs/blob-store.ts';
import type { AppEnv } from '../context.ts';
import { etagOf, headersOf, validatorsOf } from './file-headers.ts';
import type { HotFiles } from './hot-files.ts';
import { type ByteRange, matchesEtag, selectRange } from './ranges.ts';

/** An immutable file of the blob store. */
export interface StoredFile {
  blobKey: string;
  /** SHA-256, hex: the strong ETag. */
  digest: string;
  bytes: number;
}

/** Where files come from: small ones from memory, if they are asked for often. */
export interface FileSource {
  blobs: Pick<BlobStore, 'read'>;
  hot: HotFiles;
}

/**
 * Sends a file, a range of it, or 304: conditional requests and ranges as RFC 9110 has them. Streams with
 * backpressure; throws before the first byte is sent if the blob cannot be read. Throws `range_not_satisfiable`.
 */
export async function sendFile(c: Context<AppEnv>, source: FileSource, file: StoredFile): Promise<Response> {
  const { blobKey, bytes } = file;
  const etag = etagOf(file);
  if (matchesEtag(c.req.header('if-none-match'), etag)) return c.body(null, 304, validatorsOf(file));
  const asked = { range: c.req.header('range'), ifRange: c.req.header('if-range') };
  const range = selectRange(bytes, etag, asked);
  if (range === 'unsatisfiable') {
    c.header('content-range', `bytes */${bytes}`);
    throw new FedEdgeError('range_not_satisfiable', { bytes });
  }
  const isPart = range !== 'whole';
  const part = isPart ? range : { start: 0, end: bytes };
  const headers = headersOf(file, isPart ? part : undefined);
  const status = isPart ? 206 : 200;
  if (c.req.method === 'HEAD') return c.body(null, status, headers);
  c.set('fileBytes', part.end - part.start);
  const content = await source.hot.get(blobKey, bytes);
  if (content) return c.body(content.subarray(part.start, part.end), status, headers);
  const chunks = await openChunks(source.blobs, blobKey, part);
  const outgoing = c.env?.outgoing;
  if (!outgoing) return c.body(toStream(chunks), status, headers);
  const head = { ...c.get('commonHeaders'), ...headers };
  await pour(chunks, outgoing, () => outgoing.writeHead(status, head));
  return alreadySent(status);
}

interface Chunks {
  next(): Promise<IteratorResult<Uint8Array>>;
  close(): Promise<void>;
}

/** Reads the first chunk, so that a blob that cannot be read is a problem document and not a broken answer. */
async function openChunks(blobs: Pick<BlobStore, 'read'>, key: string, range: ByteRange): Promise<Chunks> {
  const iterator = blobs.read(key, range)[Symbol.asyncIterator]();
  let first: IteratorResult<Uint8Array> | undefined = await iterator.next();
  return {
    async next() {
      const next = first ?? (await iterator.next());
      first = undefined;
      return next;
    },
    async close() {
      await iterator.return?.();
    },
  };
}

/**
 * Writes chunks straight to Node's response. The store uses a chunk's memory again when the next one is asked for, so
 * each is written out first; a web stream in between would have to copy them, which costs more than all the rest.
 */
async function pour(chunks: Chunks, outgoing: ServerResponse, begin: () => void): Promise<void> {
  try {
    begin();
    for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
      await writeOut(outgoing, next.value);
    }
    outgoing.end();
  } catch (error) {
    // The head is out: the client sees that the body is not whole.
    outgoing.destroy();
    if (!(error instanceof GoneError)) throw error;
  } finally {
    await chunks.close();
  }
}

/** The client closed the connection. */
class GoneError extends Error {}

function writeOut(outgoing: ServerResponse, chunk: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(new GoneError());
    if (outgoing.destroyed) return onClose();
    outgoing.once('close', onClose);
    outgoing.write(chunk, (error) => {
      outgoing.off('close', onClose);
      if (error) reject(new GoneError('', { cause: error }));
      else resolve();
    });
  });
}

function toStream(chunks: Chunks): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(value.slice());
    },
    cancel: () => chunks.close(),
  });
}

/** Tells the adapter that the answer is out. The adapter's own Response keeps what it was made of until it is looked at. */
function alreadySent(status: number): Response {
  const response = new Response(null, { status, headers: { 'x-hono-already-sent': 'true' } });
  void response.body;
  return response;
}
