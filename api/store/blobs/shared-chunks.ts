import { returnBuffer, takeBuffer } from './chunk-buffers.ts';

/** Chunks that nobody reads any longer but somebody may ask for: 4 MiB. */
const MAX_KEPT = 8;

/** A chunk of a file, in memory that all who read it look at, and nobody changes. */
export interface SharedChunk {
  name: string;
  buffer: Uint8Array<ArrayBuffer>;
  /** Resolves with how many bytes of the buffer it has. */
  filled: Promise<number>;
  readers: number;
}

export interface SharedChunks {
  /** The chunk of that name, filled by whoever asks first. Give it back. */
  take(name: string, fill: (buffer: Uint8Array) => Promise<number>): SharedChunk;
  give(chunk: SharedChunk): void;
}

/**
 * A cohort fetches the same weights within moments, each device a little after another: what was read for one is still
 * there for the next.
 */
export function createSharedChunks(): SharedChunks {
  const chunks = new Map<string, SharedChunk>();
  /** Of those that nobody reads; the one that was given back longest ago is the first. */
  const kept = new Set<SharedChunk>();

  function free(chunk: SharedChunk): void {
    kept.delete(chunk);
    if (chunks.get(chunk.name) === chunk) chunks.delete(chunk.name);
    returnBuffer(chunk.buffer);
  }

  return {
    take(name, fill) {
      let chunk = chunks.get(name);
      if (!chunk) {
        const buffer = takeBuffer();
        chunk = { name, buffer, filled: fill(buffer), readers: 0 };
        chunks.set(name, chunk);
        // Those who take it from now on read anew.
        const made = chunk;
        made.filled.catch(() => chunks.get(name) === made && chunks.delete(name));
      }
      kept.delete(chunk);
      chunk.readers += 1;
      return chunk;
    },
    give(chunk) {
      chunk.readers -= 1;
      if (chunk.readers > 0) return;
      kept.add(chunk);
      const isKnown = chunks.get(chunk.name) === chunk;
      if (!isKnown) free(chunk);
      for (const oldest of kept) if (kept.size > MAX_KEPT) free(oldest);
    },
  };
}
