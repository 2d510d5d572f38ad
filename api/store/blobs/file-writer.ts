import { access, link, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { BlobWriter, Failpoint } from './blob-store.ts';
import { asExisting, hasCode, outages, whenSettled } from './file-outages.ts';
import type { Folders } from './folders.ts';
import type { NewFile, Place } from './new-files.ts';
import { writeOnce } from './write-once.ts';

interface Context {
  folders: Folders;
  failpoint: Failpoint;
}

/** Writes a blob to `file`: a draft, which `commit` publishes as `path`, or `path` itself, to which nobody refers before. */
export function createFileWriter(
  { folders, failpoint }: Context,
  { key, path }: Place,
  file: NewFile,
): BlobWriter {
  const content = appendTo(file);
  const isDraft = file.name !== path;
  /** Taken away if the write ends early. */
  let { name } = file;

  async function persist(): Promise<void> {
    await failpoint('blob.after_temp_write');
    if (isDraft) {
      await publish(folders, file.name, path, key);
      name = path;
    }
    // The file and its name together: a journal writes both in one go, and whoever waits for it waits half as long.
    const named = isDraft && folders.sync(dirname(path));
    await Promise.all([whenSettled([file.sync(), named]), isDraft && remove(file.name)]);
    await failpoint('blob.after_fsync');
    // All is on the disk: to wait for this would be to wait for a thread.
    file.close();
  }

  async function drop(): Promise<void> {
    await content.settled();
    file.close();
    await remove(name);
  }

  // A draft that stays is swept, a blob with its row.
  const remove = (taken: string) => unlink(taken).catch(() => {});

  const add = (chunks: readonly Uint8Array[]) => outages(() => content.add(chunks));
  return writeOnce(key, { bytes: content.bytes, add, publish: () => outages(persist), drop });
}

/** One write at a time, from the chunks' own memory. */
function appendTo(file: NewFile) {
  let bytes = 0;
  let underWay: Promise<void> = Promise.resolve();

  async function writeAll(chunks: readonly Uint8Array[]): Promise<void> {
    for (let rest = chunks; rest.length > 0; ) {
      const { bytesWritten } = await file.writev(rest, bytes);
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
