import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
} from 'node:fs';
import { lstat, readdir, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { attempt, isMissing } from './file-outages.ts';
import type { Folders } from './folders.ts';

/**
 * Spare files: the emptied files of blobs that are gone, for new ones to take. Making a file is dear where many have just been
 * deleted: ext4 without a journal looks at each inode of the group that was freed within a minute, lest a crash bring its old
 * file back (`recently_deleted` in Linux' fs/ext4/ialloc.c). After some thousands that takes longer than to write a small
 * update.
 */

/** Some rounds of small updates. Each takes an inode, and is swept as drafts are. */
const MOST = 512;
const COUNT_MS = 1000;

/** Of a file that is about to be a spare one. */
const UNFINISHED = '.';

/** Makes a spare file of the one at a path. False: it is still to be deleted, or is not there. */
export function keepSpareFiles(
  spares: string,
  folders: Pick<Folders, 'within'>,
): (path: string) => Promise<boolean> {
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
    if ((await isFull()) || !(await isPlain(path))) return false;
    const name = randomUUID();
    const own = join(spares, UNFINISHED + name);
    try {
      // First ours alone: another sweeper that has found the same file must not empty it when it is used again. Through no
      // other folder, which would have to be synced, too, before it is.
      await folders.within(spares, () => rename(path, own));
      // Looked at again: from here on nobody can give it another name.
      if (!(await isPlain(own))) throw new Error('it has got another name');
      await truncate(own);
      await rename(own, join(spares, name));
    } catch {
      await rm(own, { force: true });
      return false;
    }
    count += 1;
    return true;
  };
}

/** A file that has another name, too, is somebody's copy. */
async function isPlain(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(() => undefined);
  return stats?.isFile() === true && stats.nlink === 1;
}

export interface Taker {
  /**
   * Opens a spare file as the one at `path`. Undefined: there are no more, or `path` is there (keys are unique, so the gap
   * between look and rename harms nobody).
   */
  take(path: string, flags: number): number | undefined;
  hasTaken(): boolean;
}

/** For a thread that may wait for each call. Processes may race for the files of a folder: whoever renames one has it. */
export function takeSpareFiles(folder: string): Taker {
  const names = attempt(() => listFiles(folder)) ?? [];
  let hasTaken = false;

  function moveTo(name: string, path: string): boolean {
    try {
      renameSync(join(folder, name), path);
      return true;
    } catch (error) {
      // Gone: another process was faster. Else the next would fail as well.
      if (!isMissing(error)) names.length = 0;
      return false;
    }
  }

  return {
    take(path, flags) {
      if (names.length === 0 || existsSync(path)) return undefined;
      let name = names.pop();
      while (name !== undefined && !moveTo(name, path)) name = names.pop();
      if (name === undefined) return undefined;
      hasTaken = true;
      const descriptor = reopen(path, flags);
      // What keeps one from being used may keep all.
      if (descriptor === undefined) names.length = 0;
      return descriptor;
    },
    hasTaken: () => hasTaken,
  };
}

function listFiles(folder: string): string[] {
  const entries = readdirSync(folder, { withFileTypes: true });
  const spare = entries.filter((entry) => entry.isFile() && !entry.name.startsWith(UNFINISHED));
  return spare.map(({ name }) => name);
}

/** Undefined: it has another name, too, or cannot be used. Then it is not there any more. */
function reopen(path: string, flags: number): number | undefined {
  const descriptor = attempt(() => openSync(path, flags | constants.O_NOFOLLOW));
  if (descriptor !== undefined) {
    if (attempt(() => isEmptied(descriptor))) return descriptor;
    attempt(() => closeSync(descriptor));
  }
  attempt(() => unlinkSync(path));
  return undefined;
}

function isEmptied(descriptor: number): boolean {
  const { nlink, size } = fstatSync(descriptor);
  if (nlink !== 1) return false;
  // After a crash it may not be empty.
  if (size > 0) ftruncateSync(descriptor);
  return true;
}
