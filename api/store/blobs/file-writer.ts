import { randomUUID } from 'node:crypto';
import { access, type FileHandle, link, open, rename, rm, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BlobExistsError, type BlobWriter, type Failpoint } from './blob-store.ts';
import { returnOwnBuffer, takeBuffer } from './chunk-buffers.ts';
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
  const file = gatherInto(handle);

  async function persist(): Promise<void> {
    await file.flush();
    await context.failpoint('blob.after_temp_write');
    await handle.datasync();
    await context.failpoint('blob.after_fsync');
    await publish(context.folders, draft, path, key);
    // The draft is of no use any longer, so it goes while the folder is synced.
    await Promise.all([syncEntry(context.folders, path), drop()]);
  }

  async function drop(): Promise<void> {
    await file.settle();
    // Nothing depends on these: the bytes were synced, or are not wanted; a draft that stays is swept.
    await Promise.all([handle.close().catch(() => {}), unlink(draft).catch(() => {})]);
  }

  const add = (chunk: Uint8Array) => outages(() => file.add(chunk));
  return writeOnce(key, { bytes: file.bytes, add, publish: () => outages(persist), drop });
}

/** Gathers chunks to full buffers; while one is being written, the next fills. */
function gatherInto(handle: FileHandle) {
  let buffer: Uint8Array<ArrayBuffer> | undefined;
  let filled = 0;
  let handedOver = 0;
  let underWay: Promise<void> = Promise.resolve();

  async function handOver(): Promise<void> {
    if (!buffer) return;
    await underWay;
    underWay = writeAll(handle, buffer, filled, handedOver);
    // A failure surfaces at the next hand-over, flush or settle.
    underWay.catch(() => {});
    handedOver += filled;
    buffer = undefined;
    filled = 0;
  }

  return {
    bytes: () => handedOver + filled,
    async add(chunk: Uint8Array): Promise<void> {
      for (let taken = 0; taken < chunk.byteLength; ) {
        buffer ??= takeBuffer();
        const part = chunk.subarray(taken, taken + buffer.byteLength - filled);
        buffer.set(part, filled);
        filled += part.byteLength;
        taken += part.byteLength;
        if (filled === buffer.byteLength) await handOver();
      }
    },
    async flush(): Promise<void> {
      await handOver();
      await underWay;
    },
    /** Waits for what is under way, whatever became of it, and gives the memory back. */
    async settle(): Promise<void> {
      await underWay.catch(() => {});
      if (buffer) returnOwnBuffer(buffer);
      buffer = undefined;
    },
  };
}

async function writeAll(
  handle: FileHandle,
  buffer: Uint8Array<ArrayBuffer>,
  length: number,
  position: number,
) {
  try {
    for (let written = 0; written < length; ) {
      const rest = length - written;
      const { bytesWritten } = await handle.write(buffer, written, rest, position + written);
      written += bytesWritten;
    }
  } finally {
    returnOwnBuffer(buffer);
  }
}

async function publish(folders: Folders, draft: string, path: string, key: string): Promise<void> {
  try {
    await folders.within(dirname(path), () => linkExclusively(draft, path));
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw new BlobExistsError(key, { cause: error });
    throw error;
  }
}

async function syncEntry(folders: Folders, path: string): Promise<void> {
  try {
    await folders.sync(dirname(path));
  } catch (error) {
    await rm(path, { force: true }).catch(() => {});
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
