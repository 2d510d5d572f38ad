import { randomUUID } from 'node:crypto';
import { lstat, readdir, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { Folders } from './folders.ts';

/** Some rounds of small updates. Each takes an inode, and is swept as drafts are. */
const MOST = 512;
const COUNT_MS = 1000;

interface Context {
  folders: Pick<Folders, 'within'>;
  /** For drafts. */
  temporary: string;
  spares: string;
}

/**
 * The emptied files of blobs that are gone, for new ones to take (opening-thread.ts). Making a file is dear where many have
 * just been deleted: ext4 without a journal looks at each inode of the group that was freed within a minute, lest a crash
 * bring its old file back (`recently_deleted` in Linux' fs/ext4/ialloc.c). After some thousands that takes longer than to
 * write a small update.
 *
 * Makes a spare file of the one at a path. False: it is still to be deleted.
 */
export function keepSpareFiles({ folders, temporary, spares }: Context): (path: string) => Promise<boolean> {
  let count = 0;
  let countedAt = Number.NEGATIVE_INFINITY;

  async function isFull(): Promise<boolean> {
    if (performance.now() - countedAt >= COUNT_MS) {
      count = (await readdir(spares).catch(() => [])).length;
      countedAt = performance.now();
    }
    return count >= MOST;
  }

  return async (path) => {
    if (await isFull()) return false;
    const name = randomUUID();
    const own = join(temporary, name);
    try {
      // First ours alone: another sweeper that has found the same file must not empty it when it is used again.
      await folders.within(temporary, () => rename(path, own));
      if (!(await isPlain(own))) throw new Error('it is not to be emptied');
      await truncate(own);
      await folders.within(spares, () => rename(own, join(spares, name)));
      count += 1;
      return true;
    } catch {
      await rm(own, { force: true });
      return false;
    }
  };
}

/** A file of another name, too, is somebody's copy. */
async function isPlain(path: string): Promise<boolean> {
  const stats = await lstat(path);
  return stats.isFile() && stats.nlink === 1;
}
