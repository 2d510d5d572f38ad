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

/**
 * Writes the blob `key` to a draft that `commit` publishes as `path`; a whole one as `path` itself, which spares it three
 * steps: nobody refers to the name before the commit.
 */
export async function createFileWriter(
  context: Context,
  key: string,
  path: string,
  whole?: readonly Uint8Array[],
): Promise<BlobWriter> {
  const { folders, failpoint } = context;
  const draft = whole ? undefined : join(context.temporary, randomUUID());
  /** Taken away if the write ends early. */
  let name = draft ?? path;
  const handle = await openNew(folders, name, key);
  const file = appendTo(handle);

  async function persist(): Promise<void> {
    await failpoint('blob.after_temp_write');
    if (draft !== undefined) {
      await publish(folders, draft, path, key);
      name = path;
    }
    await Promise.all([syncPublished(), draft !== undefined && remove(draft)]);
    // All is on the disk: to wait for this would be to wait for a thread.
    void close();
  }

  /** The file and its name together: a journal writes both in one go, and whoever waits for it waits half as long. */
  async function syncPublished(): Promise<void> {
    const syncs = [handle.datasync(), folders.sync(dirname(path))];
    for (const result of await Promise.allSettled(syncs))
      if (result.status === 'rejected') throw result.reason;
    await failpoint('blob.after_fsync');
  }

  async function drop(): Promise<void> {
    await file.settled();
    await Promise.all([close(), remove(name)]);
  }

  // Nothing depends on these: the bytes were synced, or are not wanted; a draft that stays is swept, a blob with its row.
  const close = () => handle.close().catch(() => {});
  const remove = (file: string) => unlink(file).catch(() => {});

  const add = (chunks: readonly Uint8Array[]) => outages(() => file.add(chunks));
  const writer = writeOnce(key, { bytes: file.bytes, add, publish: () => outages(persist), drop });
  if (whole) await writer.write(whole);
  return writer;
}

async function openNew(folders: Folders, path: string, key: string): Promise<FileHandle> {
  try {
    return await folders.within(dirname(path), () => open(path, 'wx'));
  } catch (error) {
    throw asExisting(error, key);
  }
}

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
