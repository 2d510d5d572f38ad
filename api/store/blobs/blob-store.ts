/**
 * Write-once bytes under a key like `update/<uuid>`. What is written streams through in chunks; a store holds a
 * few megabytes a writer at most, whatever the blob's size. Faults are the errors below, all with their cause.
 *
 * Until `commit` has resolved a key may stand for torn bytes, and after a power loss it may for good: that a blob is whole
 * is said by whoever refers to it, in the database, and by nothing in the store.
 */
export interface BlobStore {
  /** Opens a blob to write; nothing is visible under the key before `commit()`, unless it is `whole`. */
  create(key: string, options?: CreateOptions): Promise<BlobWriter>;
  /**
   * Opens blobs that will each be `whole` ahead of their bytes: all of them, in the order of the keys, or none where that saves
   * the store nothing. Their keys have one folder. Rejects if one cannot be opened; then none is there.
   */
  openAhead(keys: readonly string[]): Promise<BlobWriter[]>;
  /**
   * The bytes [start, end) (cut to the blob's size; the whole without a range) in chunks of at most 512 KiB. A chunk
   * is valid until the next one is asked for: its memory is used again. Throws BlobMissingError. Nothing is opened
   * before the first chunk is asked for.
   */
  read(key: string, range?: BlobRange): BlobBytes;
  /** The size in bytes, undefined when there is no such blob. */
  size(key: string): Promise<number | undefined>;
  /** Idempotent. A power loss may undo it: who deletes for good compares `list` with what is referred to. */
  delete(key: string, options?: DeleteOptions): Promise<void>;
  /** The blobs, committed or about to be, whose keys begin with `prefix`, in no promised order. */
  list(prefix: string): AsyncIterable<{ key: string; bytes: number; modifiedAt: Date }>;
  /** Deletes drafts that were begun, or last added to, before `before`, and what was spare since then; returns how many. */
  sweepTemporary(before: Date): Promise<number>;
  /** Throws BlobUnavailableError when the store cannot be used now. */
  check(): Promise<void>;
}

export interface CreateOptions {
  /** The expected size, a hint: large blobs choose their parts by it. */
  bytes?: number;
  /**
   * All of it will be written at once: a store may then do without a draft, so that the name is there from now on and
   * BlobExistsError comes now instead of at the commit, and make each write durable by itself.
   */
  whole?: boolean;
}

export interface DeleteOptions {
  /**
   * A store may use what held the blob for another one, at once: nobody writes to it any more, and nobody reads it but to hold
   * it against what it should be.
   */
  spare?: boolean;
}

/** One write. Call its methods one at a time, each after the one before has resolved. */
export interface BlobWriter {
  /** A chunk, or several. The caller may use their memory again when this settles. */
  write(chunks: Uint8Array | readonly Uint8Array[]): Promise<void>;
  /** Resolves when the blob is durable and visible. Throws BlobExistsError when the key was taken. */
  commit(): Promise<void>;
  /** Drops the write; does nothing after a commit, a failed `write` or `commit`, or a second time. */
  abort(): Promise<void>;
  /** Bytes taken so far. */
  readonly bytes: number;
}

/**
 * Writes a chunk while `look` looks at it. Settles when its memory may be used again; rejects with what `look` throws.
 */
export async function writeWatched(
  writer: BlobWriter,
  chunk: Uint8Array,
  look: (chunk: Uint8Array) => void,
): Promise<void> {
  const written = writer.write(chunk);
  try {
    look(chunk);
  } catch (error) {
    await written.catch(() => {});
    throw error;
  }
  await written;
}

export function countBytes(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** What `read` gives. */
export interface BlobBytes extends AsyncIterable<Uint8Array> {
  /** The same bytes as a file of this host, where they are the whole of one: another thread may rather read that. */
  readonly path: string | undefined;
}

/** Chunks as `read` gives them, with the `path` of the file that they are, if they are one. */
export function blobBytes(chunks: AsyncIterable<Uint8Array>, path?: string): BlobBytes {
  return Object.assign(chunks, { path });
}

export interface BlobRange {
  start: number;
  end: number;
}

/** Called at named points of a write, so that fault tests can stop the process there. */
export type Failpoint = (name: string) => Promise<void> | void;

/** There is no blob under this key. */
export class BlobMissingError extends Error {
  readonly code = 'blob_missing';
  readonly key: string;

  constructor(key: string) {
    super(`There is no blob ${key}`);
    this.name = 'BlobMissingError';
    this.key = key;
  }
}

/** The key holds another writer's blob already, which stays as it is. */
export class BlobExistsError extends Error {
  readonly code = 'blob_exists';
  readonly key: string;

  constructor(key: string, options?: ErrorOptions) {
    super(`There is a blob ${key} already`, options);
    this.name = 'BlobExistsError';
    this.key = key;
  }
}

/** The store failed (outage, disk full, no permission): nothing is known about the blob. Worth a retry. */
export class BlobUnavailableError extends Error {
  readonly code = 'blob_store_unavailable';

  constructor(what: string, options?: ErrorOptions) {
    super(`The blob store failed: ${what}`, options);
    this.name = 'BlobUnavailableError';
  }
}

/** Largest chunk that `read` yields. */
export const maxChunkBytes = 1 << 19;

const segment = '[A-Za-z0-9_-][A-Za-z0-9._-]*';
const keyPattern = new RegExp(`^${segment}(/${segment})*$`);
const prefixPattern = new RegExp(`^(${segment}/)*(${segment})?$`);
const maxKeyLength = 256;

/** Guards a store: keys come from our own code, and none may name anything outside of it. Throws TypeError. */
export function assertKey(key: string): void {
  if (key.length <= maxKeyLength && keyPattern.test(key)) return;
  throw new TypeError(`Not a blob key: ${JSON.stringify(key.slice(0, maxKeyLength))}`);
}

/** As `assertKey`, for the beginning of keys. */
export function assertPrefix(prefix: string): void {
  if (prefix.length <= maxKeyLength && prefixPattern.test(prefix)) return;
  throw new TypeError(`Not a prefix of blob keys: ${JSON.stringify(prefix.slice(0, maxKeyLength))}`);
}

/** Throws TypeError for a range that no blob can have. */
export function assertRange({ start, end }: BlobRange): void {
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end >= start) return;
  throw new TypeError(`Not a range of bytes: [${start}, ${end})`);
}
