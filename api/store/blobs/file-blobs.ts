import { randomUUID } from 'node:crypto';
import { lstat, open, readdir, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join, relative, sep } from 'node:path';
import { writesThrough } from '../write-through.ts';
import {
  assertKey,
  assertPrefix,
  assertRange,
  BlobMissingError,
  type BlobRange,
  type BlobStore,
  blobBytes,
  type Failpoint,
} from './blob-store.ts';
import { asOutage, isMissing, outages } from './file-outages.ts';
import { readChunks } from './file-reader.ts';
import { createFileWriter } from './file-writer.ts';
import { createFolders, type Folders } from './folders.ts';
import { type NewFile, openDraft, openWhole, openWholes, type Place } from './new-files.ts';
import { createOpener } from './opener.ts';
import { createSharedChunks, type SharedChunks } from './shared-chunks.ts';
import { keepSpareFiles } from './spare-files.ts';

/**
 * Blobs as files below `dir` (made if missing); drafts in `dir/.tmp`, spare files in `dir/.spare`. Several processes of one
 * host may use one folder. Failpoints: `blob.after_temp_write` (all bytes handed to the system), `blob.after_fsync`
 * (durable and visible, and nobody knows of it yet).
 */
export function createFileBlobs(options: { dir: string; failpoint?: Failpoint }): BlobStore {
  const { dir, failpoint = () => {} } = options;
  const folders = createFolders(dir);
  const chunks = createSharedChunks();
  const temporary = join(dir, '.tmp');
  const isThrough = rememberYes(() => writesThrough(dir));
  const spares = join(dir, '.spare');
  const context = { folders, opener: createOpener(), temporary, spares, isThrough, failpoint };
  const keepSpare = keepSpareFiles(spares, folders);
  const pathOf = (key: string) => {
    assertKey(key);
    return join(dir, key);
  };
  const placeOf = (key: string): Place => ({ key, path: pathOf(key) });
  const write = (place: Place, file: NewFile) => createFileWriter(context, place, file);
  return {
    create: (key, options) =>
      outages(async () => {
        const place = placeOf(key);
        return write(place, await (options?.whole ? openWhole(context, place) : openDraft(context, key)));
      }),
    openAhead: (keys) =>
      outages(async () => {
        const places = keys.map(placeOf);
        const files = await openWholes(context, places);
        return files.map((file, index) => write(places[index]!, file));
      }),
    read(key, range) {
      const path = pathOf(key);
      return blobBytes(readFileBlob(key, { path, range, chunks }), range ? undefined : path);
    },
    size: (key) => outages(async () => sizeOf(pathOf(key))),
    delete: (key, options) =>
      outages(async () => {
        const path = pathOf(key);
        // Where files are not written through, none is opened ahead, and none would take it.
        const isKept = options?.spare && (await isThrough()) && (await keepSpare(path));
        if (!isKept) await deleteFile(dir, path, folders.forget);
      }),
    list: (prefix) => listFiles(dir, prefix),
    sweepTemporary: (before) =>
      outages(async () => (await sweep(temporary, before)) + (await sweep(spares, before))),
    check: () => outages(() => probe(temporary, folders)),
  };
}

/** What was so once is not asked again. */
function rememberYes(ask: () => Promise<boolean>): () => Promise<boolean> {
  let isSo = false;
  return async () => {
    isSo ||= await ask();
    return isSo;
  };
}

async function* readFileBlob(
  key: string,
  { path, range, chunks }: { path: string; range: BlobRange | undefined; chunks: SharedChunks },
): AsyncGenerator<Uint8Array> {
  if (range) assertRange(range);
  try {
    yield* readChunks(path, range, chunks);
  } catch (error) {
    if (isMissing(error)) throw new BlobMissingError(key);
    throw asOutage(error);
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const stats = await stat(path);
    return stats.isFile() ? stats.size : undefined;
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function deleteFile(dir: string, path: string, forget: (folder: string) => void): Promise<void> {
  await rm(path, { force: true });
  // `checkpoint/<round>` folders would pile up; one that is in use is not empty, or is made again by its writer.
  for (let folder = dirname(path); dirname(folder) !== dir && folder !== dir; folder = dirname(folder)) {
    forget(folder);
    const removed = await rmdir(folder).then(
      () => true,
      () => false,
    );
    if (!removed) return;
  }
}

async function* listFiles(dir: string, prefix: string) {
  assertPrefix(prefix);
  const start = join(dir, prefix.slice(0, prefix.lastIndexOf('/') + 1));
  try {
    for await (const path of walk(start)) {
      const key = relative(dir, path).split(sep).join('/');
      if (!key.startsWith(prefix)) continue;
      const stats = await stat(path).catch(() => undefined);
      if (stats) yield { key, bytes: stats.size, modifiedAt: stats.mtime };
    }
  } catch (error) {
    throw asOutage(error);
  }
}

/** Files below `folder`, whose parts may vanish meanwhile; hidden folders are not blobs'. */
async function* walk(folder: string): AsyncGenerator<string> {
  const entries = await readdir(folder, { withFileTypes: true }).catch((error) => {
    if (isMissing(error)) return [];
    throw error;
  });
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isFile()) yield path;
    else if (entry.isDirectory() && !entry.name.startsWith('.')) yield* walk(path);
  }
}

async function sweep(temporary: string, before: Date): Promise<number> {
  const names = await readdir(temporary).catch((error) => {
    if (isMissing(error)) return [];
    throw error;
  });
  let removed = 0;
  for (const name of names) {
    const path = join(temporary, name);
    const stats = await lstat(path).catch(() => undefined);
    // Anything else is not ours: a folder of a volume's own, say.
    if (!stats?.isFile() || stats.mtime >= before) continue;
    await rm(path, { force: true });
    removed += 1;
  }
  return removed;
}

async function probe(temporary: string, folders: Folders): Promise<void> {
  const path = join(temporary, `probe-${randomUUID()}`);
  const handle = await folders.within(temporary, () => open(path, 'wx'));
  try {
    await handle.write('probe');
    await handle.datasync();
  } finally {
    await handle.close();
    await unlink(path);
  }
}
