import { type FileHandle, open } from 'node:fs/promises';
import { type BlobRange, BlobUnavailableError } from './blob-store.ts';
import { returnBuffer, takeBuffer } from './chunk-buffers.ts';

/**
 * The file's bytes in chunks of two buffers that take turns: while the consumer has one, the next is being read.
 */
export async function* readChunks(path: string, range?: BlobRange): AsyncGenerator<Uint8Array> {
  const handle = await open(path, 'r');
  const buffers = [takeBuffer(), takeBuffer()] as const;
  let ahead: Promise<number> | undefined;
  try {
    const { size } = await handle.stat();
    const end = Math.min(range?.end ?? size, size);
    let position = range?.start ?? 0;
    for (let turn = 0; position < end; turn ^= 1) {
      const buffer = buffers[turn as 0 | 1];
      const bytes = await (ahead ?? fill(handle, buffer, position, end));
      position += bytes;
      ahead = position < end ? fill(handle, buffers[(turn ^ 1) as 0 | 1], position, end) : undefined;
      // Awaited a turn later, or in `finally`: it must not count as unhandled until then.
      ahead?.catch(() => {});
      yield buffer.subarray(0, bytes);
    }
  } finally {
    await ahead?.catch(() => {});
    buffers.forEach(returnBuffer);
    await handle.close();
  }
}

async function fill(handle: FileHandle, buffer: Uint8Array, position: number, end: number): Promise<number> {
  const length = Math.min(buffer.byteLength, end - position);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  if (bytesRead === 0) throw new BlobUnavailableError('a file became shorter while it was read');
  return bytesRead;
}
