import { CHUNK_BYTES, type FilledBuffer } from './fold-messages.ts';

const MAX_IDLE_BUFFERS = 4;

/** Buffers of CHUNK_BYTES that travel to the thread and back. */
export interface BufferPool {
  take(): ArrayBuffer;
  give(buffer: ArrayBuffer): void;
}

export function createBufferPool(): BufferPool {
  const idle: ArrayBuffer[] = [];
  return {
    take: () => idle.pop() ?? new ArrayBuffer(CHUNK_BYTES),
    give(buffer) {
      if (idle.length < MAX_IDLE_BUFFERS) idle.push(buffer);
    },
  };
}

/**
 * Copies a stream's chunks, of whatever size and ownership, into full buffers; only the last may be partly
 * filled.
 */
export async function* gatherChunks(
  chunks: AsyncIterable<Uint8Array>,
  pool: BufferPool,
): AsyncGenerator<FilledBuffer> {
  let buffer: ArrayBuffer | undefined;
  let length = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      buffer ??= pool.take();
      const part = chunk.subarray(at, at + CHUNK_BYTES - length);
      new Uint8Array(buffer).set(part, length);
      at += part.length;
      length += part.length;
      if (length < CHUNK_BYTES) continue;
      yield { buffer, length };
      buffer = undefined;
      length = 0;
    }
  }
  if (buffer) yield { buffer, length };
}
