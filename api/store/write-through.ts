import { statfs } from 'node:fs/promises';

/** By the numbers of statfs(2): ext2 to ext4, XFS, Btrfs, ZFS, F2FS, bcachefs, and what stands for them or for memory. */
const KNOWN = new Set([
  0xef53, 0x58465342, 0x9123683e, 0x2fc12fc1, 0xf2f52010, 0xca451a4e, 0x794c7630, 0x01021994,
]);

/**
 * Whether a write to a file that was opened with `O_DSYNC` ends when its bytes are on the disk: where the file system is known
 * to keep that. Others (FUSE, 9P, shares) may only do what `fsync` asks of them, and macOS leaves bytes in the disk's cache.
 */
export async function writesThrough(folder: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  try {
    return KNOWN.has((await statfs(folder)).type);
  } catch {
    // Not there yet, or not to be asked.
    return false;
  }
}
