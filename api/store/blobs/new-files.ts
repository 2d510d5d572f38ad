import { randomUUID } from 'node:crypto';
import { constants, writev } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { asExisting, whenSettled } from './file-outages.ts';
import type { Folders } from './folders.ts';
import type { Opener } from './opener.ts';

/** A blob to be, and where it will be. */
export interface Place {
  key: string;
  path: string;
}

/** A file that was made to be written. */
export interface NewFile {
  /** A draft's, or the blob's own. */
  name: string;
  writev(chunks: readonly Uint8Array[], position: number): Promise<{ bytesWritten: number }>;
  /** After the last write: what was written is durable, and the name if it is the blob's own. */
  sync(): Promise<void>;
  /** Nothing depends on it: the bytes were synced, or are not wanted. */
  close(): void;
}

interface Context {
  folders: Folders;
  opener: Opener;
  temporary: string;
}

const NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
/** A write ends when its bytes are on the disk. macOS would leave them in the disk's cache, which its `datasync` does not. */
const WRITE_THROUGH = process.platform === 'linux' ? constants.O_DSYNC : 0;
const writevTo = promisify(writev);

export async function openDraft({ folders, temporary }: Context, key: string): Promise<NewFile> {
  const name = join(temporary, randomUUID());
  const handle = await openNew(folders, { path: name, flags: NEW }, key);
  return { ...fileOf(handle, name), sync: () => handle.datasync() };
}

/**
 * Opens the blob's path itself, whose name is made durable meanwhile; so is what each write writes: one call, and one wait for
 * a thread, instead of five.
 */
export async function openWhole({ folders }: Context, { key, path }: Place): Promise<NewFile> {
  const handle = await openNew(folders, { path, flags: NEW | WRITE_THROUGH }, key);
  const named = folders.sync(dirname(path));
  // Told by `sync`, if it is asked.
  named.catch(() => undefined);
  const sync = () => whenSettled([named, WRITE_THROUGH === 0 && handle.datasync()]);
  return { ...fileOf(handle, path), sync };
}

/** The same for blobs of one folder, all at once; none where a file cannot be written through. */
export async function openWholes({ folders, opener }: Context, places: readonly Place[]): Promise<NewFile[]> {
  if (WRITE_THROUGH === 0 || places.length === 0) return [];
  const paths = places.map(({ path }) => path);
  const folder = dirname(paths[0]!);
  if (paths.some((path) => dirname(path) !== folder)) throw new TypeError('These blobs have several folders');
  const openAll = () => opener.open(paths, NEW | WRITE_THROUGH);
  const descriptors = await folders.within(folder, openAll);
  return descriptors.map((descriptor, index) => ({
    name: paths[index]!,
    writev: (chunks, position) => writevTo(descriptor, chunks, position),
    sync: async () => undefined,
    close: () => opener.close(descriptor),
  }));
}

async function openNew(
  folders: Folders,
  { path, flags }: { path: string; flags: number },
  key: string,
): Promise<FileHandle> {
  try {
    return await folders.within(dirname(path), () => open(path, flags));
  } catch (error) {
    throw asExisting(error, key);
  }
}

function fileOf(handle: FileHandle, name: string): Omit<NewFile, 'sync'> {
  return {
    name,
    writev: (chunks, position) => handle.writev(chunks, position),
    close: () => void handle.close().catch(() => undefined),
  };
}
