import {
  assertRange,
  BlobMissingError,
  type BlobRange,
  BlobUnavailableError,
  maxChunkBytes,
} from '../blob-store.ts';
import type { Patience } from './s3-patience.ts';
import { type S3Request, type SendS3, s3Error, textOf } from './s3-requests.ts';

const maxResumes = 5;

interface Names {
  key: string;
  objectKey: string;
}

/** The object's bytes; a download that breaks off or stalls is resumed where it stopped, on the same object. */
export async function* readS3Object(
  send: SendS3,
  names: Names,
  patience: Patience,
  range?: BlobRange,
): AsyncGenerator<Uint8Array> {
  if (range) assertRange(range);
  const end = range?.end ?? Number.POSITIVE_INFINITY;
  let position = range?.start ?? 0;
  let tag: string | undefined;
  for (let breaks = 0; ; breaks += 1) {
    const watch = patience.watch();
    try {
      const opening = { position, end: range?.end, tag, signal: watch.signal };
      const opened = await openObject(send, names, opening, patience);
      if (!opened) return;
      tag = opened.tag;
      watch.expect();
      for await (const chunk of opened.body) {
        // The consumer's time is not the network's.
        watch.rest();
        patience.restore();
        breaks = 0;
        // Some services answer more than they were asked for.
        const wanted = chunk.subarray(0, end - position);
        position += wanted.byteLength;
        yield* cut(wanted);
        if (position >= end) return;
        watch.expect();
      }
      return;
    } catch (error) {
      if (error instanceof BlobMissingError || error instanceof BlobUnavailableError) throw error;
      watch.rest();
      if (breaks < maxResumes && !patience.isOver()) continue;
      throw new BlobUnavailableError(`GET ${names.objectKey}: ${(error as Error).message}`, { cause: error });
    } finally {
      watch.rest();
    }
  }
}

interface Opening {
  position: number;
  end: number | undefined;
  /** The entity tag that an earlier part of the download had. */
  tag: string | undefined;
  signal: AbortSignal;
}

/** Undefined when nothing is left to read. */
async function openObject(
  send: SendS3,
  { key, objectKey }: Names,
  { position, end, tag, signal }: Opening,
  patience: Patience,
) {
  const isEmpty = end !== undefined && position >= end;
  const isPart = !isEmpty && (position > 0 || end !== undefined);
  const headers: Record<string, string> = {};
  if (isPart) headers.range = `bytes=${position}-${end === undefined ? '' : end - 1}`;
  if (tag) headers['if-match'] = tag;
  const request: S3Request = { method: isEmpty ? 'HEAD' : 'GET', key: objectKey, headers, signal };
  const response = await send(request, patience);
  if (response.status === 416) {
    await response.body?.cancel();
    return undefined;
  }
  if (response.status === 404) {
    const code = textOf(await response.clone().text(), 'Code') ?? 'NoSuchKey';
    if (code === 'NoSuchKey') throw new BlobMissingError(key);
  }
  if (!response.ok || (isPart && response.status !== 206)) throw await s3Error(request, response);
  if (isEmpty || !response.body) return undefined;
  return { body: response.body as AsyncIterable<Uint8Array>, tag: response.headers.get('etag') ?? undefined };
}

function* cut(chunk: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < chunk.byteLength; start += maxChunkBytes) {
    yield chunk.subarray(start, start + maxChunkBytes);
  }
}
