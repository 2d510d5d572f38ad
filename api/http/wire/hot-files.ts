import type { BlobStore } from '../../store/blobs/blob-store.ts';

const MAX_FILE_BYTES = 8 << 20;
const MAX_BYTES = 32 << 20;

/** Small blobs that were asked for lately. A cohort fetches the same weights within moments. */
export interface HotFiles {
  /** The blob's bytes, which nobody may change; undefined: it is too large to be kept. Throws what reading throws. */
  get(key: string, bytes: number): Promise<Uint8Array<ArrayBuffer>> | undefined;
  /** The blob's bytes if they are in memory now. */
  peek(key: string): Uint8Array<ArrayBuffer> | undefined;
}

interface HotFile {
  bytes: number;
  content: Promise<Uint8Array<ArrayBuffer>>;
  /** Once it is there. */
  loaded?: Uint8Array<ArrayBuffer>;
}

/** Bounded by bytes, the least recently used go first. Blobs are written once, so nothing in here gets old. */
export function createHotFiles(blobs: Pick<BlobStore, 'read'>): HotFiles {
  const files = new Map<string, HotFile>();
  let keptBytes = 0;

  function forget(key: string): void {
    keptBytes -= files.get(key)?.bytes ?? 0;
    files.delete(key);
  }

  /** Those who ask while it is being read wait for the one read. */
  function load(key: string, bytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const content = readWhole(blobs, key, bytes);
    content.then(
      (loaded) => keepLoaded(key, loaded),
      () => forget(key),
    );
    return content;
  }

  function keepLoaded(key: string, loaded: Uint8Array<ArrayBuffer>): void {
    const file = files.get(key);
    if (file) file.loaded = loaded;
  }

  return {
    get(key, bytes) {
      if (bytes > MAX_FILE_BYTES) return undefined;
      const file = files.get(key) ?? { bytes, content: load(key, bytes) };
      forget(key);
      files.set(key, file);
      keptBytes += bytes;
      for (const oldest of files.keys()) {
        if (keptBytes <= MAX_BYTES) break;
        forget(oldest);
      }
      return file.content;
    },
    peek: (key) => files.get(key)?.loaded,
  };
}

async function readWhole(
  blobs: Pick<BlobStore, 'read'>,
  key: string,
  bytes: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const content = new Uint8Array(bytes);
  let filled = 0;
  for await (const chunk of blobs.read(key, { start: 0, end: bytes })) {
    content.set(chunk, filled);
    filled += chunk.byteLength;
  }
  if (filled !== bytes) throw new Error(`the blob ${key} has ${filled} bytes, not ${bytes}`);
  return content;
}
