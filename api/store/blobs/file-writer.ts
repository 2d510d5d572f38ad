import { randomUUID } from 'node:crypto';
import { access, type FileHandle, link, open, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BlobExistsError, type BlobWriter, type Failpoint } from './blob-store.ts';
import { hasCode, outages } from './file-outages.ts';
import type { Folders } from './folders.ts';
import { writeOnce } from './write-once.ts';

interface Context {
  folders: Folders;
  temporary: string;
  failpoint: Failpoint;
}

/** Writes the blob `key` to a temporary file that `commit` publishes as `path`. */
export async function createFileWriter(context: Context, key: string, path: string): Promise<BlobWriter> {
  const draft = join(context.temporary, randomUUID());
  const handle = await context.folders.within(context.temporary, () => open(draft, 'wx'));
  const file = appendTo(handle);

  async function persist(): Promise<void> {
    await context.failpoint('blob.after_temp_write');
    await publish(context.folders, draft, path, key);
    await Promise.all([orUnlink(path, () => syncPublished(context, handle, path)), dropDraft()]);
    void close(handle);
  }

  async function drop(): Promise<void> {
    await file.settled();
    await Promise.all([close(handle), dropDraft()]);
  }

  // Nothing depends on it: a draft that stays is swept.
  const dropDraft = () => unlink(draft).catch(() => {});

  const add = (chunks: readonly Uint8Array[]) => outages(() => file.add(chunks));
  return writeOnce(key, { bytes: file.bytes, add, publish: () => outages(persist), drop });
}

/** Writes all of the blob `key` as `path` itself, which spares a draft: nobody refers to the name before this resolves. */
export async function putFile(
  context: Context,
  key: string,
  path: string,
  chunks: readonly Uint8Array[],
): Promise<void> {
  const handle = await context.folders.within(dirname(path), () => openNew(path, key));
  try {
    await orUnlink(path, async () => {
      await appendTo(handle).add(chunks);
      await context.failpoint('blob.after_temp_write');
      await syncPublished(context, handle, path);
    });
  } finally {
    void close(handle);
  }
}

async function openNew(path: string, key: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx');
  } catch (error) {
    throw asExisting(error, key);
  }
}

/**
 * Makes a file and its name durable, together: a journal writes both in one go, and whoever waits for the commit waits half
 * as long.
 */
async function syncPublished(
  { folders, failpoint }: Context,
  handle: FileHandle,
  path: string,
): Promise<void> {
  const syncs = [handle.datasync(), folders.sync(dirname(path))];
  // Both are over before the file is closed.
  for (const result of await Promise.allSettled(syncs)) if (result.status === 'rejected') throw result.reason;
  await failpoint('blob.after_fsync');
}

/** If `work` fails, nothing is left under the name. */
async function orUnlink(path: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    await unlink(path).catch(() => {});
    throw error;
  }
}

/** Nothing depends on it: the bytes were synced, or are not wanted. To wait for it would be to wait for a thread. */
const close = (handle: FileHandle) => handle.close().catch(() => {});

/** One write at a time, from the chunks' own memory. */
function appendTo(handle: FileHandle) {
  let bytes = 0;
  let underWay: Promise<void> = Promise.resolve();

  async function writeAll(chunks: readonly Uint8Array[]): Promise<void> {
    for (let rest = chunks; rest.length > 0; ) {
      const { bytesWritten } = await handle.writev(rest, bytes);
      bytes += bytesWritten;
      rest = skip(rest, bytesWritten);
    }
  }

  return {
    bytes: () => bytes,
    add(chunks: readonly Uint8Array[]): Promise<void> {
      underWay = writeAll(chunks);
      return underWay;
    },
    /** Waits for what is under way, whatever became of it. */
    settled: () => underWay.catch(() => {}),
  };
}

/** The system may have taken less than it was given. */
function skip(chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let left = bytes;
  return chunks.flatMap((chunk) => {
    const skipped = Math.min(left, chunk.byteLength);
    left -= skipped;
    return skipped === chunk.byteLength ? [] : [chunk.subarray(skipped)];
  });
}

async function publish(folders: Folders, draft: string, path: string, key: string): Promise<void> {
  try {
    await folders.within(dirname(path), () => linkExclusively(draft, path));
  } catch (error) {
    throw asExisting(error, key);
  }
}

function asExisting(error: unknown, key: string): unknown {
  return hasCode(error, 'EEXIST') ? new BlobExistsError(key, { cause: error }) : error;
}

/** A hard link is refused when the name is taken, which a rename is not. */
async function linkExclusively(draft: string, path: string): Promise<void> {
  try {
    await link(draft, path);
  } catch (error) {
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS')) throw error;
    // No hard links on this file system. Keys are unique, so the gap between look and rename harms nobody.
    const taken = await access(path).then(
      () => true,
      () => false,
    );
    if (taken) throw Object.assign(new Error(`${path} exists`, { cause: error }), { code: 'EEXIST' });
    await rename(draft, path);
  }
}
