import { assertKey, assertPrefix, type BlobStore, blobBytes, type Failpoint } from '../blob-store.ts';
import { createPatience } from './s3-patience.ts';
import { readS3Object } from './s3-reader.ts';
import {
  createS3Sender,
  defaultTimeoutMs,
  elementsOf,
  type S3Options,
  type S3Request,
  type SendS3,
  s3Error,
  textOf,
} from './s3-requests.ts';
import { createS3Writer } from './s3-writer.ts';

export type { S3Options } from './s3-requests.ts';

/**
 * Blobs as objects of an S3 bucket. Write-once needs a service that honours `If-None-Match: *`; on another one a
 * second write of a key replaces the first (FedEdge's keys are unique). Failpoint: `blob.after_temp_write` (parts
 * stored, the object not yet visible).
 */
export function createS3Blobs(options: S3Options & { partBytes?: number; failpoint?: Failpoint }): BlobStore {
  const { prefix = '', partBytes = 8 << 20, failpoint = () => {}, timeoutMs = defaultTimeoutMs } = options;
  const newPatience = () => createPatience(timeoutMs);
  const send = createS3Sender(options);
  const objectKey = (key: string) => {
    assertKey(key);
    return prefix + key;
  };
  return {
    async create(key, { bytes } = {}) {
      const names = { key, objectKey: objectKey(key) };
      const patience = newPatience();
      const sendInTime: SendS3 = (request) => send(request, patience);
      return createS3Writer(sendInTime, names, { partBytes, failpoint }, bytes);
    },
    openAhead: async () => [],
    read: (key, range) =>
      blobBytes(readS3Object(send, { key, objectKey: objectKey(key) }, newPatience(), range)),
    size: async (key) => sizeOf(send, objectKey(key)),
    delete: async (key) => deleteObject(send, objectKey(key)),
    list: (keys) => listObjects(send, prefix, keys),
    sweepTemporary: (before) => sweepUploads(send, prefix, before),
    check: async () => {
      await getXml(send, { method: 'GET', query: { 'list-type': '2', 'max-keys': '0', prefix } });
    },
  };
}

async function sizeOf(send: SendS3, key: string): Promise<number | undefined> {
  const request: S3Request = { method: 'HEAD', key };
  const response = await send(request);
  if (response.status === 404) return undefined;
  if (!response.ok) throw await s3Error(request, response);
  return Number(response.headers.get('content-length'));
}

async function deleteObject(send: SendS3, key: string): Promise<void> {
  const request: S3Request = { method: 'DELETE', key };
  const response = await send(request);
  if (!response.ok && response.status !== 404) throw await s3Error(request, response);
  await response.body?.cancel();
}

async function* listObjects(send: SendS3, prefix: string, keys: string) {
  assertPrefix(keys);
  let token: string | undefined;
  do {
    const query = { 'list-type': '2', prefix: prefix + keys, ...(token && { 'continuation-token': token }) };
    const xml = await getXml(send, { method: 'GET', query });
    for (const entry of elementsOf(xml, 'Contents')) {
      const key = textOf(entry, 'Key')?.slice(prefix.length) ?? '';
      const modifiedAt = new Date(textOf(entry, 'LastModified') ?? 0);
      yield { key, bytes: Number(textOf(entry, 'Size')), modifiedAt };
    }
    token = textOf(xml, 'NextContinuationToken');
  } while (token);
}

async function sweepUploads(send: SendS3, prefix: string, before: Date): Promise<number> {
  let removed = 0;
  let marker: Record<string, string> | undefined = {};
  while (marker) {
    const xml: string = await getXml(send, { method: 'GET', query: { uploads: '', prefix, ...marker } });
    for (const upload of elementsOf(xml, 'Upload')) {
      const initiated = new Date(textOf(upload, 'Initiated') ?? Number.NaN);
      if (!(initiated < before)) continue;
      await abortUpload(send, textOf(upload, 'Key') ?? '', textOf(upload, 'UploadId') ?? '');
      removed += 1;
    }
    marker = nextUploads(xml);
  }
  return removed;
}

function nextUploads(xml: string): Record<string, string> | undefined {
  if (textOf(xml, 'IsTruncated') !== 'true') return undefined;
  const key = textOf(xml, 'NextKeyMarker') ?? '';
  return { 'key-marker': key, 'upload-id-marker': textOf(xml, 'NextUploadIdMarker') ?? '' };
}

async function abortUpload(send: SendS3, key: string, uploadId: string): Promise<void> {
  const request: S3Request = { method: 'DELETE', key, query: { uploadId } };
  const response = await send(request);
  if (!response.ok && response.status !== 404) throw await s3Error(request, response);
  await response.body?.cancel();
}

async function getXml(send: SendS3, request: S3Request): Promise<string> {
  const response = await send(request);
  if (!response.ok) throw await s3Error(request, response);
  return await response.text();
}
