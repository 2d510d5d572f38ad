import { closeSync, openSync, writeFileSync } from 'node:fs';
import { mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { measureBlobs } from '../../../api/metrics/measured.ts';
import { createMetrics } from '../../../api/metrics/metrics.ts';
import { BlobUnavailableError } from '../../../api/store/blobs/blob-store.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { createFileWriter } from '../../../api/store/blobs/file-writer.ts';
import { createFolders } from '../../../api/store/blobs/folders.ts';
import { markBlobs } from '../../../api/store/blobs/marked-blobs.ts';
import { openWhole, openWholes } from '../../../api/store/blobs/new-files.ts';
import { writesThrough } from '../../../api/store/write-through.ts';
import { get, put } from '../../support/blobs.ts';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'fededge-blobs-'));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const bytes = Buffer.from('some bytes');
const isLinux = process.platform === 'linux';

test.each(['.tmp', 'update'])('goes on when its folder %s has gone meanwhile', async (folder) => {
  const store = createFileBlobs({ dir });
  await put(store, 'update/before', bytes);
  await rm(join(dir, folder), { recursive: true });
  await put(store, 'update/after', bytes);
  expect(await get(store, 'update/after')).toEqual(bytes);
  await rm(join(dir, folder), { recursive: true });
  await store.check();
});

test.runIf(isLinux)('opens ahead, also where the folder has gone meanwhile', async () => {
  const store = createFileBlobs({ dir });
  await put(store, 'update/before', bytes);
  await rm(join(dir, 'update'), { recursive: true });
  const keys = ['update/a', 'update/b', 'update/c'];
  const [first, second, third] = await store.openAhead(keys);
  await second!.write(bytes);
  await second!.commit();
  expect(await get(store, 'update/b')).toEqual(bytes);
  await first!.abort();
  await third!.abort();
  expect(await readdir(join(dir, 'update'))).toEqual(['b']);
  expect(await store.openAhead([])).toEqual([]);
});

test.runIf(isLinux)(
  'what was opened ahead and cannot be written is an outage, and leaves nothing',
  async () => {
    const openToRead = (path: string) => {
      writeFileSync(path, '');
      return openSync(path, 'r');
    };
    const opener = { open: async (paths: readonly string[]) => paths.map(openToRead), close: closeSync };
    const isThrough = async () => true;
    const context = {
      folders: createFolders(dir),
      opener,
      temporary: dir,
      spares: join(dir, '.spare'),
      isThrough,
      failpoint: () => undefined,
    };
    const place = { key: 'update/a', path: join(dir, 'update/a') };
    const [file] = await openWholes(context, [place]);
    const writer = createFileWriter(context, place, file!);
    await expect(writer.write(bytes)).rejects.toThrow(BlobUnavailableError);
    expect(await readdir(join(dir, 'update'))).toEqual([]);
  },
);

test('syncs what it writes at once where a write is not known to go through', async () => {
  const context = {
    folders: createFolders(dir),
    opener: { open: () => Promise.reject(new Error('not asked')), close: closeSync },
    temporary: dir,
    spares: join(dir, '.spare'),
    isThrough: async () => false,
    failpoint: () => undefined,
  };
  const place = { key: 'update/a', path: join(dir, 'update/a') };
  expect(await openWholes(context, [place])).toEqual([]);
  const handle = await open(join(dir), 'r');
  const datasync = vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'datasync');
  await handle.close();
  const writer = createFileWriter(context, place, await openWhole(context, place));
  await writer.write(bytes);
  await writer.commit();
  expect(datasync).toHaveBeenCalledTimes(1);
  datasync.mockRestore();
  expect(await readFile(place.path)).toEqual(bytes);
  expect(await writesThrough('/nowhere')).toBe(false);
});

test.runIf(isLinux)('opens nothing ahead in several folders, of which one would not be synced', async () => {
  const store = createFileBlobs({ dir });
  await expect(store.openAhead(['update/b', 'version/c'])).rejects.toThrow(TypeError);
});

test('is out where all of it has gone, and makes nothing in its place', async () => {
  const store = createFileBlobs({ dir: join(dir, 'blobs') });
  await put(store, 'update/before', bytes);
  await rename(join(dir, 'blobs'), join(dir, 'unmounted'));
  await expect(put(store, 'update/after', bytes)).rejects.toThrow(BlobUnavailableError);
  expect(await store.openAhead(['update/after']).catch(() => [])).toEqual([]);
  await expect(store.check()).rejects.toThrow(BlobUnavailableError);
  expect(await readdir(dir)).toEqual(['unmounted']);
  await rename(join(dir, 'unmounted'), join(dir, 'blobs'));
  await put(store, 'update/after', bytes);
  await store.check();
});

test('still tells its files when it is marked and measured, as servers have it', async () => {
  const files = createFileBlobs({ dir });
  const record = { marker: async () => 'store/1', sample: async () => [] };
  const marked = markBlobs(files, record, { lookMs: 0 });
  const store = measureBlobs(marked, createMetrics({ version: 'test', role: 'worker' }));
  await put(store, 'update/x', bytes);
  expect(store.read('update/x').path).toBe(join(dir, 'update/x'));
  expect(store.read('update/x', { start: 0, end: 4 }).path).toBeUndefined();
});
