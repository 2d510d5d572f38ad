import { type FileHandle, open } from 'node:fs/promises';
import { type BlobRange, BlobUnavailableError, maxChunkBytes } from './blob-store.ts';
import { returnBuffer, takeBuffer } from './chunk-buffers.ts';
import type { SharedChunk, SharedChunks } from './shared-chunks.ts';

/** The file's bytes in chunks; while the consumer has one, the next is being read. */
export async function* readChunks(
  path: string,
  range: BlobRange | undefined,
  shared: SharedChunks,
): AsyncGenerator<Uint8Array> {
  const handle = await open(path, 'r');
  try {
    const stats = await handle.stat();
    const end = Math.min(range?.end ?? stats.size, stats.size);
    const part = { start: Math.min(range?.start ?? 0, end), end };
    // The path, too: what tells two files apart elsewhere does not on every network file system.
    const name = `${path}:${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}`;
    const file = { handle, name, size: stats.size };
    yield* end - part.start > maxChunkBytes ? readLong(file, part, shared) : readShort(handle, part);
  } finally {
    await handle.close();
  }
}

/** What fits into one chunk. */
async function* readShort(handle: FileHandle, part: BlobRange): AsyncGenerator<Uint8Array> {
  if (part.start === part.end) return;
  const buffer = takeBuffer();
  try {
    yield buffer.subarray(0, await fill(handle, buffer, part));
  } finally {
    returnBuffer(buffer);
  }
}

async function* readLong(
  { handle, name, size }: { handle: FileHandle; name: string; size: number },
  { start, end }: BlobRange,
  shared: SharedChunks,
): AsyncGenerator<Uint8Array> {
  const held = new Set<SharedChunk>();
  const take = (at: number) => {
    const part = { start: at, end: Math.min(at + maxChunkBytes, size) };
    const chunk = shared.take(`${name}:${at}`, (buffer) => fill(handle, buffer, part));
    held.add(chunk);
    // Awaited when its turn comes, or in `finally`: it must not count as unhandled until then.
    chunk.filled.catch(() => {});
    return chunk;
  };
  const give = (chunk: SharedChunk) => {
    held.delete(chunk);
    shared.give(chunk);
  };
  try {
    // Chunks begin at multiples of their size, so that whoever reads a file meets the same ones.
    let at = start - (start % maxChunkBytes);
    for (let next: SharedChunk | undefined = take(at); next; at += maxChunkBytes) {
      const chunk: SharedChunk = next;
      const filled = await chunk.filled;
      next = at + maxChunkBytes < end ? take(at + maxChunkBytes) : undefined;
      yield chunk.buffer.subarray(Math.max(start - at, 0), Math.min(end - at, filled));
      give(chunk);
    }
  } finally {
    // Until then our handle and the memory are in use.
    await Promise.allSettled([...held].map(({ filled }) => filled));
    held.forEach(give);
  }
}

/** Reads the whole part. */
async function fill(handle: FileHandle, buffer: Uint8Array, { start, end }: BlobRange): Promise<number> {
  let filled = 0;
  while (start + filled < end) {
    const { bytesRead } = await handle.read(buffer, filled, end - start - filled, start + filled);
    if (bytesRead === 0) throw new BlobUnavailableError('a file became shorter while it was read');
    filled += bytesRead;
  }
  return filled;
}
