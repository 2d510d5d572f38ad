import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BlobMissingError, type BlobStore } from '../../../api/store/blobs/blob-store.ts';
import { createFileBlobs } from '../../../api/store/blobs/file-blobs.ts';
import { BlobStoreMissingError, markBlobs, type StoreRecord } from '../../../api/store/blobs/marked-blobs.ts';
import { openDatabase } from '../../../api/store/database.ts';
import { migrateDatabase } from '../../../api/store/migrate.ts';
import { recordOfStore, reserveBlob, settleBlob } from '../../../api/store/models/blob-rows.ts';
import { federations } from '../../../api/store/schema.ts';
import { get, inChunks, put } from '../../support/blobs.ts';
import { createTestDatabase } from '../../support/postgres.ts';

let folder: string;
let dir: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-marked-'));
  dir = join(folder, 'blobs');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const bytes = Buffer.from('some bytes');
/** Live blobs, as the database knows them. */
const recordOf = (live: string[]): StoreRecord => ({
  marker: async () => 'store/1',
  sample: async () => live,
});
const open = (live: string[] = []) => markBlobs(createFileBlobs({ dir }), recordOf(live), { lookMs: 0 });

/** The volume goes; what is below its mount point is an empty folder. */
async function unmount(): Promise<void> {
  await rename(dir, join(folder, 'volume'));
  await mkdir(join(dir, '.tmp'), { recursive: true });
}

async function mount(): Promise<void> {
  await rm(dir, { recursive: true });
  await rename(join(folder, 'volume'), dir);
}

test('a new store gets its marker, and is what it was', async () => {
  const store = open();
  await put(store, 'update/x', bytes);
  expect(store.read('update/x').path).toBe(join(dir, 'update/x'));
  expect((await get(store, 'update/x')).equals(bytes)).toBe(true);
  expect(await readdir(join(dir, 'store'))).toEqual(['1']);
  await store.delete('update/x');
  await expect(get(store, 'update/x')).rejects.toThrow(BlobMissingError);
  expect(await store.size('update/x')).toBeUndefined();
  await store.check();
});

test('a store that is not mounted loses nothing and takes nothing', async () => {
  const store = open(['update/x']);
  await put(open(), 'update/x', bytes);
  await store.check();
  await unmount();
  for (const each of [store, open(['update/x'])]) {
    await expect(get(each, 'update/x')).rejects.toThrow(BlobStoreMissingError);
    await expect(each.size('update/x')).rejects.toThrow(BlobStoreMissingError);
    await expect(put(each, 'update/y', bytes)).rejects.toThrow(BlobStoreMissingError);
    await expect(each.openAhead(['update/z'])).rejects.toThrow(BlobStoreMissingError);
    await expect(each.delete('update/x')).rejects.toThrow(BlobStoreMissingError);
    await expect(each.check()).rejects.toThrow(/store\/1.*mounted/);
  }
  await mount();
  expect((await get(store, 'update/x')).equals(bytes)).toBe(true);
  await put(store, 'update/y', bytes);
});

test('a store that this process has seen is not taken for a new one', async () => {
  const store = open();
  await store.check();
  await unmount();
  await expect(put(store, 'update/x', bytes)).rejects.toThrow(BlobStoreMissingError);
});

test('a blob that is back when its loss is confirmed was not lost', async () => {
  await put(open(), 'update/x', bytes);
  const files = createFileBlobs({ dir });
  const flapping: BlobStore = {
    ...files,
    read: inChunks(async function* (key) {
      yield* [];
      throw new BlobMissingError(key);
    }),
  };
  const store = markBlobs(flapping, recordOf(['update/x']), { lookMs: 0 });
  await expect(get(store, 'update/x')).rejects.toThrow('was not there for a moment');
});

test('a restored store gets its marker because its blobs are there', async () => {
  await put(createFileBlobs({ dir }), 'update/x', bytes);
  await open(['update/gone', 'update/x']).check();
  expect(await readdir(join(dir, 'store'))).toEqual(['1']);
});

test('several processes mark one store', async () => {
  await Promise.all(Array.from({ length: 8 }, (_, i) => put(open(), `update/${i}`, bytes)));
  expect(await readdir(join(dir, 'store'))).toEqual(['1']);
});

test('the database names the marker and knows what has to be there', async () => {
  const database = await createTestDatabase({ migrate: migrateDatabase });
  const db = openDatabase(database.connection, { connections: 2 });
  const record = recordOfStore(db.pool);
  await expect(record.marker()).rejects.toThrow('no federation');
  const first = new Date('2026-01-31T12:00:00.000Z');
  const later = new Date(first.getTime() + 1000);
  await db.pool.insert(federations).values({ id: 'later', createdAt: later });
  await db.pool.insert(federations).values({ id: 'default', createdAt: first });
  expect(await record.marker()).toBe(`store/${first.getTime()}`);
  for (const key of ['update/a', 'update/b']) await reserveBlob(db.pool, key, first);
  await settleBlob(db.pool, 'update/b');
  expect(await record.sample()).toEqual(['update/b']);
  await db.close();
  await database.drop();
});
