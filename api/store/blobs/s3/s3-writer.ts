import { randomUUID } from 'node:crypto';
import { BlobExistsError, BlobUnavailableError, type BlobWriter, type Failpoint } from '../blob-store.ts';
import { writeOnce } from '../write-once.ts';
import { elementsOf, type S3Request, type SendS3, s3Error, textOf } from './s3-requests.ts';

export interface S3WriterOptions {
  /** Smallest part of a multipart upload; a blob up to this size is one PUT. At least 5 MiB for AWS. */
  partBytes: number;
  failpoint: Failpoint;
}

const writerHeader = 'x-amz-meta-fededge-writer';
const maxParts = 10_000;
const maxUndecided = 5;
const firstBufferBytes = 256 << 10;
const ifNew = { 'if-none-match': '*' };

interface Target {
  send: SendS3;
  key: string;
  objectKey: string;
  /** Travels as metadata, so that a repeated request recognises the effect of its lost forerunner. */
  writer: string;
}

/** Gathers parts; the blob appears by one conditional PUT, or by completing a multipart upload. */
export function createS3Writer(
  send: SendS3,
  names: { key: string; objectKey: string },
  options: S3WriterOptions,
  expectedBytes = 0,
): BlobWriter {
  const target = { send, ...names, writer: randomUUID() };
  const partBytes = Math.max(options.partBytes, Math.ceil(expectedBytes / (maxParts - 1)));
  const parts = createParts(target);
  let part = createPart(partBytes, expectedBytes);
  let bytes = 0;

  async function add(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) await addChunk(chunk);
  }

  async function addChunk(chunk: Uint8Array): Promise<void> {
    for (let taken = 0; taken < chunk.byteLength; ) {
      if (part.isFull()) {
        await parts.upload(part.content());
        part = createPart(partBytes, expectedBytes - bytes);
      }
      const added = part.add(chunk.subarray(taken));
      taken += added;
      bytes += added;
    }
  }

  async function publish(): Promise<void> {
    if (parts.begun()) await parts.upload(part.content());
    await parts.settled();
    await options.failpoint('blob.after_temp_write');
    if (parts.begun()) await parts.complete();
    else await putWhole(target, part.content());
  }

  return writeOnce(names.key, { bytes: () => bytes, add, publish, drop: parts.abandon });
}

/** A buffer that grows to `limit`: most blobs are much smaller than a part. */
function createPart(limit: number, expected: number) {
  const wanted = expected > 0 ? expected : firstBufferBytes;
  let buffer = new Uint8Array(Math.min(limit, wanted));
  let filled = 0;
  return {
    isFull: () => filled === limit,
    content: () => buffer.subarray(0, filled),
    add(chunk: Uint8Array): number {
      const taken = chunk.subarray(0, limit - filled);
      const needed = filled + taken.byteLength;
      if (needed > buffer.byteLength) {
        const larger = new Uint8Array(Math.min(limit, Math.max(needed, 2 * buffer.byteLength)));
        larger.set(buffer.subarray(0, filled));
        buffer = larger;
      }
      buffer.set(taken, filled);
      filled = needed;
      return taken.byteLength;
    },
  };
}

/** A multipart upload, begun with the first part. One part is under way while the next one fills. */
function createParts(target: Target) {
  const { send, objectKey } = target;
  const tags: string[] = [];
  let uploadId: string | undefined;
  let underWay: Promise<void> = Promise.resolve();

  async function uploadPart(number: number, body: Uint8Array<ArrayBuffer>): Promise<void> {
    const query = { partNumber: String(number), uploadId: uploadId ?? '' };
    const request: S3Request = { method: 'PUT', key: objectKey, query, body };
    const response = await send(request);
    const tag = response.headers.get('etag');
    if (!response.ok || !tag) throw await s3Error(request, response);
    await response.body?.cancel();
    tags[number - 1] = tag;
  }

  return {
    begun: () => uploadId !== undefined,
    settled: () => underWay,
    async upload(body: Uint8Array<ArrayBuffer>): Promise<void> {
      await underWay;
      uploadId ??= await beginUpload(target);
      underWay = uploadPart(tags.length + 1, body);
      // Keeps its place in the order; a failure surfaces at the next part or at commit.
      tags.push('');
      underWay.catch(() => {});
    },
    complete: () => completeUpload(target, uploadId ?? '', tags),
    async abandon(): Promise<void> {
      await underWay.catch(() => {});
      if (uploadId === undefined) return;
      // What stays when this fails is found by sweepTemporary; a service that was silent is not waited for again.
      const request: S3Request = { method: 'DELETE', key: objectKey, query: { uploadId } };
      const response = await send(request).catch(() => undefined);
      await response?.body?.cancel().catch(() => {});
    },
  };
}

async function beginUpload({ send, objectKey, writer }: Target): Promise<string> {
  const headers = { [writerHeader]: writer, 'content-type': 'application/octet-stream' };
  const request: S3Request = { method: 'POST', key: objectKey, query: { uploads: '' }, headers };
  const response = await send(request);
  if (!response.ok) throw await s3Error(request, response);
  const uploadId = textOf(await response.text(), 'UploadId');
  if (!uploadId) throw new BlobUnavailableError(`no upload id for ${objectKey}`);
  return uploadId;
}

async function putWhole(target: Target, body: Uint8Array<ArrayBuffer>): Promise<void> {
  const headers = { ...ifNew, [writerHeader]: target.writer, 'content-type': 'application/octet-stream' };
  const request: S3Request = { method: 'PUT', key: target.objectKey, headers, body };
  await settleConditional(target, request);
}

async function completeUpload(target: Target, uploadId: string, tags: readonly string[]): Promise<void> {
  const parts = tags.map(
    (tag, index) => `<Part><PartNumber>${index + 1}</PartNumber><ETag>${tag}</ETag></Part>`,
  );
  const body = `<CompleteMultipartUpload>${parts.join('')}</CompleteMultipartUpload>`;
  const request: S3Request = {
    method: 'POST',
    key: target.objectKey,
    query: { uploadId },
    headers: ifNew,
    body,
  };
  await settleConditional(target, request);
}

/** Sends until the service decides: 409 means that it could not tell yet (a concurrent write or deletion). */
async function settleConditional(target: Target, request: S3Request): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const response = await target.send(request);
    const outcome = await readOutcome(response);
    if (outcome === 'done') return;
    if (outcome === 'undecided' && attempt < maxUndecided) continue;
    // Ours already, when an earlier try had its effect and only the answer was lost.
    if (outcome !== 'refused' && (await isOurs(target))) return;
    if (outcome === 'exists') throw new BlobExistsError(target.key);
    throw await s3Error(request, response);
  }
}

type Outcome = 'done' | 'exists' | 'gone' | 'undecided' | 'refused';

async function readOutcome(response: Response): Promise<Outcome> {
  if (response.status === 412) return 'exists';
  if (response.status === 409) return 'undecided';
  if (response.status === 404) return 'gone';
  if (!response.ok) return 'refused';
  // Completing may fail after its 200 was sent; then the body says so.
  const isError = elementsOf(await response.text(), 'Error').length > 0;
  return isError ? 'undecided' : 'done';
}

async function isOurs({ send, objectKey, writer }: Target): Promise<boolean> {
  const response = await send({ method: 'HEAD', key: objectKey });
  return response.ok && response.headers.get(writerHeader) === writer;
}
