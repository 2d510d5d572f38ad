import { expect } from 'vitest';
import { type BlobRange, type BlobStore, blobBytes } from '../../api/store/blobs/blob-store.ts';

/** Writes `bytes` as a socket would bring them, and commits. */
export async function put(store: BlobStore, key: string, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(key, { bytes: bytes.length });
  // One buffer for all chunks, as a socket's would be.
  const chunk = new Uint8Array(65_536 - 7);
  for (let start = 0; start < bytes.length; start += chunk.length) {
    const part = bytes.subarray(start, start + chunk.length);
    chunk.set(part);
    await writer.write(chunk.subarray(0, part.length));
    chunk.fill(0xee);
  }
  expect(writer.bytes).toBe(bytes.length);
  await writer.commit();
}

/** The same in one go. */
export async function putWhole(store: BlobStore, key: string, bytes: Uint8Array): Promise<void> {
  const writer = await store.create(key, { bytes: bytes.length, whole: true });
  await writer.write(bytes);
  await writer.commit();
}

/** Reads a blob, or a range of it, whole. */
export async function get(store: BlobStore, key: string, range?: BlobRange): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of store.read(key, range)) {
    expect(chunk.length).toBeLessThanOrEqual(1 << 20);
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}

/** The keys below `prefix`, sorted. */
export async function keysOf(store: BlobStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys.sort();
}

/** `read` of a store that has no files: whatever `chunksOf` gives. */
export function inChunks(
  chunksOf: (...request: Parameters<BlobStore['read']>) => AsyncIterable<Uint8Array>,
): BlobStore['read'] {
  return (...request) => blobBytes(chunksOf(...request));
}

/** A store whose writes wait at a gate until that is opened, or fails them. */
export function holdWrites(blobs: BlobStore) {
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  let held = 0;
  const create: BlobStore['create'] = async (...args) => {
    held += 1;
    reached.resolve();
    await gate.promise;
    return blobs.create(...args);
  };
  // Nothing passes beside it.
  const openAhead = async () => [];
  /** `reached` resolves with the first one; `held` tells how many have come. */
  return { blobs: { ...blobs, create, openAhead }, gate, reached: reached.promise, held: () => held };
}
