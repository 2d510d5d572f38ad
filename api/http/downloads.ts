import type { Context } from 'hono';
import { FedEdgeError } from '../domain/errors.ts';
import type { BlobStore } from '../store/blobs/blob-store.ts';
import type { AppEnv } from './context.ts';
import { writeDigest } from './digests.ts';
import { type ByteRange, matchesEtag, selectRange } from './ranges.ts';

/** An immutable file of the blob store. */
export interface StoredFile {
  blobKey: string;
  /** SHA-256, hex: the strong ETag. */
  digest: string;
  bytes: number;
}

/**
 * Sends a file, a range of it, or 304: conditional requests and ranges as RFC 9110 has them. Streams with
 * backpressure; throws before the first byte is sent if the blob cannot be read. Throws `range_not_satisfiable`.
 */
export async function sendFile(
  c: Context<AppEnv>,
  blobs: Pick<BlobStore, 'read'>,
  { blobKey, digest, bytes }: StoredFile,
): Promise<Response> {
  const etag = `"${digest}"`;
  const validators = { etag, 'cache-control': 'private, max-age=31536000, immutable' };
  if (matchesEtag(c.req.header('if-none-match'), etag)) return c.body(null, 304, validators);
  const asked = { range: c.req.header('range'), ifRange: c.req.header('if-range') };
  const range = selectRange(bytes, etag, asked);
  if (range === 'unsatisfiable') {
    c.header('content-range', `bytes */${bytes}`);
    throw new FedEdgeError('range_not_satisfiable', { bytes });
  }
  const isPart = range !== 'whole';
  const part = isPart ? range : { start: 0, end: bytes };
  const headers = {
    ...validators,
    'content-type': 'application/octet-stream',
    'content-length': String(part.end - part.start),
    'accept-ranges': 'bytes',
    'repr-digest': writeDigest(digest),
    ...(isPart
      ? { 'content-range': `bytes ${part.start}-${part.end - 1}/${bytes}` }
      : { 'content-digest': writeDigest(digest) }),
  };
  const status = isPart ? 206 : 200;
  if (c.req.method === 'HEAD') return c.body(null, status, headers);
  return c.body(await openStream(blobs, blobKey, part), status, headers);
}

/** The store uses a chunk's memory again, and whoever sends the stream keeps chunks for a while: they are copied. */
async function openStream(
  blobs: Pick<BlobStore, 'read'>,
  key: string,
  range: ByteRange,
): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
  const chunks = blobs.read(key, range)[Symbol.asyncIterator]();
  let next: IteratorResult<Uint8Array> | undefined = await chunks.next();
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const { done, value } = next ?? (await chunks.next());
      next = undefined;
      if (done) controller.close();
      else controller.enqueue(value.slice());
    },
    async cancel() {
      await chunks.return?.();
    },
  });
}
