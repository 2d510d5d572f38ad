import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of a few megabytes, in memory. */
export interface SmallDisk {
  readonly path: string;
  /** Takes all that is left of it. */
  fill(): Promise<void>;
  free(): Promise<void>;
  close(): void;
}

/** Only root may, and not in every container. Undefined: not here. */
export function mountSmallDisk(megabytes: number): SmallDisk | undefined {
  const path = mkdtempSync(join(tmpdir(), 'fededge-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'fededge', path], {
      stdio: 'ignore',
    });
  } catch {
    rmdirSync(path);
    return undefined;
  }
  const filler = join(path, 'filler');
  return {
    path,
    async fill() {
      const file = await open(filler, 'w');
      try {
        for (const bytes of [65_536, 4096, 1]) {
          const piece = Buffer.alloc(bytes);
          while (await wasWritten(file.write(piece)));
        }
      } finally {
        await file.close();
      }
    },
    free: () => rm(filler, { force: true }),
    close() {
      execFileSync('umount', ['-l', path]);
      rmdirSync(path);
    },
  };
}

async function wasWritten(write: Promise<{ bytesWritten: number }>): Promise<boolean> {
  try {
    return (await write).bytesWritten > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false;
    throw error;
  }
}
