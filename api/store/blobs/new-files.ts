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
  /** Where emptied files are, to be used again. */
  spares: string;
  /** Whether what is written through need not be synced. Asked when the folder is there. */
  isThrough(): Promise<boolean>;
}

const NEW = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;
const THROUGH = constants.O_WRONLY | constants.O_DSYNC;
const NEW_THROUGH = NEW | constants.O_DSYNC;
const writevTo = promisify(writev);

export async function openDraft({ folders, temporary }: Context, key: string): Promise<NewFile> {
  const name = join(temporary, randomUUID());
  const handle = await openNew(folders, { key, path: name }, () => open(name, NEW));
  return { ...fileOf(handle, name), sync: () => handle.datasync() };
}

/**
 * Opens the blob's path itself, whose name is made durable meanwhile; so is what each write writes: one call, and one wait for
 * a thread, instead of five.
 */
export async function openWhole(context: Context, { key, path }: Place): Promise<NewFile> {
  const { folders } = context;
  let isThrough = false;
  const handle = await openNew(folders, { key, path }, async () => {
    isThrough = await context.isThrough();
    return open(path, isThrough ? NEW_THROUGH : NEW);
  });
  const named = folders.sync(dirname(path));
  // Told by `sync`, if it is asked.
  named.catch(() => undefined);
  const sync = () => whenSettled([named, !isThrough && handle.datasync()]);
  return { ...fileOf(handle, path), sync };
}

/** The same for blobs of one folder, all at once; none where a file cannot be written through. */
export async function openWholes(context: Context, places: readonly Place[]): Promise<NewFile[]> {
  const { folders, opener, spares } = context;
  if (places.length === 0) return [];
  const paths = places.map(({ path }) => path);
  const folder = dirname(paths[0]!);
  if (paths.some((path) => dirname(path) !== folder)) throw new TypeError('These blobs have several folders');
  const openAll = async () => ((await context.isThrough()) ? opener.open(paths, THROUGH, spares) : []);
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
  { key, path }: Place,
  openFile: () => Promise<FileHandle>,
): Promise<FileHandle> {
  try {
    return await folders.within(dirname(path), openFile);
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
