import { randomUUID } from 'node:crypto';
import { access, type FileHandle, link, open, rename, rm, unlink } from 'node:fs/promises';
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
    // Together: a journal writes both in one go, and whoever waits for the commit waits half as long. Nobody refers to the
    // name before that.
    await Promise.all([syncPublished(), dropDraft()]);
    // All is on the disk: to wait for this would be to wait for a thread.
    void closeFile();
  }

  async function syncPublished(): Promise<void> {
    const syncs = [handle.datasync(), context.folders.sync(dirname(path))];
    try {
      await Promise.all(syncs);
      await context.failpoint('blob.after_fsync');
    } catch (error) {
      await Promise.allSettled(syncs);
      await rm(path, { force: true }).catch(() => {});
      throw error;
    }
  }

  async function drop(): Promise<void> {
    await file.settled();
    await Promise.all([closeFile(), dropDraft()]);
  }

  // Nothing depends on these: the bytes were synced, or are not wanted; a draft that stays is swept.
  const closeFile = () => handle.close().catch(() => {});
  const dropDraft = () => unlink(draft).catch(() => {});

  const add = (chunks: readonly Uint8Array[]) => outages(() => file.add(chunks));
  return writeOnce(key, { bytes: file.bytes, add, publish: () => outages(persist), drop });
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
    if (hasCode(error, 'EEXIST')) throw new BlobExistsError(key, { cause: error });
    throw error;
  }
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
