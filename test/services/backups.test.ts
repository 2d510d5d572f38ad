import { copyFile, mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BackupError, backUp, restore } from '../../api/services/backups.ts';
import { createFileBlobs } from '../../api/store/blobs/file-blobs.ts';
import { type Database, openDatabase } from '../../api/store/database.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { createTestApp, type TestApp } from '../support/app.ts';
import { get, put } from '../support/blobs.ts';
import { createTestModel, smallWeights } from '../support/models.ts';
import { createTestDatabase, type TestDatabase } from '../support/postgres.ts';

const TAR_BLOCK = 512;

let test: TestApp;
let folder: string;
let archive: string;
let size: number;
let database: TestDatabase;
let target: { db: Database; blobs: ReturnType<typeof createFileBlobs>; dataDir: string };

beforeAll(async () => {
  test = await createTestApp();
  await createTestModel(test, await test.operator(), 'kept', [smallWeights(1), smallWeights(2)]);
  folder = await mkdtemp(join(tmpdir(), 'fededge-backups-'));
  archive = join(folder, 'whole.tar');
  await backUp({ ...test.deps, dataDir: test.deps.config.dataDir }, archive);
  ({ size } = await stat(archive));
  database = await createTestDatabase({ migrate: migrateDatabase });
  const dataDir = await mkdtemp(join(folder, 'target-'));
  const db = openDatabase(database.connection, { connections: 4 });
  target = { db, blobs: createFileBlobs({ dir: join(dataDir, 'blobs') }), dataDir };
});
afterAll(async () => {
  await target?.db.close();
  await database?.drop();
  await test?.close();
  await rm(folder, { recursive: true, force: true });
});

async function refusalOf(path: string): Promise<string> {
  const error: unknown = await restore(target, path).then(
    () => new Error('it was restored'),
    (reason) => reason,
  );
  expect(error, `${error}`).toBeInstanceOf(BackupError);
  return (error as BackupError).message;
}

async function expectUntouched(): Promise<void> {
  expect(await readdir(target.dataDir, { recursive: true })).toEqual([]);
  const [row] = await target.db.client`select
    (select count(*)::int from federations) + (select count(*)::int from blobs) as rows`;
  expect(row!.rows).toBe(0);
}

/** Where the head of each archived file begins. */
async function findHeads(): Promise<number[]> {
  const bytes = await readFile(archive);
  const heads: number[] = [];
  for (let at = bytes.indexOf('ustar\0'); at >= 0; at = bytes.indexOf('ustar\0', at + 1))
    heads.push(at - 257);
  return heads;
}

async function copyOf(name: string): Promise<string> {
  const path = join(folder, name);
  await copyFile(archive, path);
  return path;
}

it('refuses an archive that is cut off, wherever that is, and leaves the target as it was', async () => {
  const heads = await findHeads();
  expect(heads.length).toBeGreaterThan(20);
  const around = heads.flatMap((head) => [head, head + 100, head + TAR_BLOCK, head + TAR_BLOCK + 1]);
  // The last block alone says nothing: an archive ends with two that are empty.
  const lengths = new Set([0, Math.floor(size / 2), ...around, size - 2 * TAR_BLOCK, size - TAR_BLOCK - 1]);
  const cut = await copyOf('cut.tar');
  for (const length of [...lengths].filter((bytes) => bytes < size - TAR_BLOCK).sort((a, b) => b - a)) {
    await truncate(cut, length);
    expect(await refusalOf(cut), `${length} of ${size} bytes`).toMatch(/cut\.tar cannot be read: .*cut off/);
  }
  await expectUntouched();
});

it.each<[what: string, find: (bytes: Buffer) => number, message: RegExp]>([
  ['the head of a weights file', (bytes) => bytes.lastIndexOf('data_offsets'), /damaged: blobs\//],
  ['a row of a table', (bytes) => bytes.indexOf('kept'), /damaged: tables\/\w+\.copy/],
  ['the key of access tokens', (bytes) => bytes.indexOf('"d":'), /damaged: files\/token-keys\.json/],
  ['the head of an archived file', (bytes) => bytes.indexOf('ustar\0'), /wrong checksum/],
  ['the brackets of the manifest', (bytes) => bytes.lastIndexOf(']}'), /damaged: manifest\.json/],
  ['a digest in the manifest', (bytes) => bytes.lastIndexOf('"sha256":"') + 12, /damaged: manifest\.json/],
  ['a column in the manifest', (bytes) => bytes.lastIndexOf('"columns":["') + 14, /damaged: manifest\.json/],
])('refuses an archive with damage in %s, and leaves the target as it was', async (_, find, message) => {
  const path = await copyOf('damaged.tar');
  const at = find(await readFile(path));
  expect(at).toBeGreaterThan(0);
  const handle = await open(path, 'r+');
  await handle.write(Buffer.from('~'), 0, 1, at);
  await handle.close();
  expect(await refusalOf(path)).toMatch(message);
  await expectUntouched();
});

it('refuses what is no backup at all, and a file that is not there', async () => {
  const path = join(folder, 'other.tar');
  await writeFile(path, Buffer.alloc(2 * TAR_BLOCK));
  expect(await refusalOf(path)).toMatch(/no backup of FedEdge/);
  await writeFile(path, 'x'.repeat(2 * TAR_BLOCK));
  expect(await refusalOf(path)).toMatch(/cannot be read/);
  expect(await refusalOf(join(folder, 'nothing.tar'))).toMatch(/cannot be read/);
  await expectUntouched();
});

it('restores the whole one after all of that, over what a cut restore may have left torn, and once', async () => {
  const [first, second] = await test.deps.db.client<{ blobKey: string; bytes: number }[]>`
    select blob_key as "blobKey", bytes::int from model_versions order by version`;
  for (const { blobKey, bytes } of [
    { ...first!, bytes: first!.bytes - 7 },
    { ...second!, bytes: second!.bytes },
  ]) {
    await put(target.blobs, blobKey, Buffer.alloc(bytes));
  }
  expect(await restore(target, archive)).toMatchObject({ blobs: 2 });
  const models = await target.db.client`select name, head from models`;
  expect(models).toEqual([expect.objectContaining({ name: 'kept', head: 2 })]);
  for (const { blobKey } of [first!, second!]) {
    expect(await get(target.blobs, blobKey)).toEqual(await get(test.deps.blobs, blobKey));
  }
  expect(await refusalOf(archive)).toMatch(/into an empty database/);
});
