import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Deps } from '../deps.ts';
import {
  type ArchivedFile,
  type ArchiveReader,
  type ArchiveWriter,
  createArchive,
  openArchive,
} from '../store/backup/archives.ts';
import {
  type CopiedTable,
  fillTables,
  isUntouched,
  newestMigration,
  readSnapshot,
} from '../store/backup/tables.ts';
import { BlobExistsError, type BlobStore } from '../store/blobs/blob-store.ts';
import { SweepLockLostError, whileSweepersPause } from '../store/sweep-lock.ts';
import { createSecretFile } from './identity/token-keys.ts';

type BackupDeps = Pick<Deps, 'db' | 'blobs'> & { dataDir: string };

const MANIFEST = 'manifest.json';
const FORMAT = 'fededge-backup/1';
/** What lies in the data folder beside database and blobs and cannot be made again. */
const SECRET_FILES = ['token-keys.json', 'operator.key'];

interface Manifest {
  format: typeof FORMAT;
  createdAt: string;
  /** The newest migration of the database. */
  migration: number;
  tables: CopiedTable[];
  files: ArchivedFile[];
}

export interface BackupReport {
  tables: number;
  blobs: number;
  bytes: number;
}

/** A backup that cannot be restored, or not here; the message says why. */
export class BackupError extends Error {
  override name = 'BackupError';
}

/**
 * Writes everything to one archive while servers and workers go on: the database as it is at one moment, then the blobs
 * that it refers to (no sweeper deletes one meanwhile), then the keys of the data folder. It appears whole or not at
 * all. Whoever has it has the federation: keep it like a key.
 */
export async function backUp(deps: BackupDeps, path: string): Promise<BackupReport> {
  const now = new Date();
  const archive = await createArchive(path, now);
  try {
    const blobs = await whileSweepersPause(deps.db, () => fill(deps, archive, now));
    await archive.commit();
    return reportOf(archive.files, blobs);
  } catch (error) {
    await archive.abort();
    if (!(error instanceof SweepLockLostError)) throw error;
    throw new BackupError('the connection to the database was lost meanwhile: make it again', {
      cause: error,
    });
  }
}

async function fill({ db, blobs, dataDir }: BackupDeps, archive: ArchiveWriter, now: Date): Promise<number> {
  const { tables, keys, migration } = await readSnapshot(db, async (snapshot) => {
    for (const table of snapshot.tables) await archive.add(tableFile(table), await snapshot.copy(table));
    const [keys, migration] = [await snapshot.listBlobs(), await snapshot.newestMigration()];
    return { tables: snapshot.tables, keys, migration };
  });
  for (const key of keys) await archive.add(blobFile(key), blobs.read(key));
  for (const name of SECRET_FILES) {
    const file = join(dataDir, name);
    if (await exists(file)) await archive.add(`files/${name}`, createReadStream(file));
  }
  const files = [...archive.files];
  const manifest: Manifest = { format: FORMAT, createdAt: now.toISOString(), migration, tables, files };
  await archive.add(MANIFEST, textOf(JSON.stringify({ ...manifest, sha256: digestOf(manifest) })));
  return keys.length;
}

/**
 * Puts a backup into an untouched database and its blob store. Every digest is compared before anything is written;
 * bytes come first, rows last and at once. Leases are free and their fences raised. Throws BackupError.
 */
export async function restore({ db, blobs, dataDir }: BackupDeps, path: string): Promise<BackupReport> {
  const archive = await openArchive(path).catch((cause: Error) => {
    throw new BackupError(`${path} cannot be read: ${cause.message}`, { cause });
  });
  try {
    const manifest = await readManifest(archive);
    const known = await newestMigration(db.client);
    if (manifest.migration > known) throw new BackupError('the backup was made by a newer FedEdge');
    if (!(await isUntouched(db))) {
      throw new BackupError('a backup is restored into an empty database: this one has a federation');
    }
    const stored = manifest.files.filter(({ name }) => name.startsWith('blobs/'));
    for (const file of stored) await restoreBlob(blobs, archive, file);
    for (const name of SECRET_FILES) await writeSecret(dataDir, archive, name);
    await fillTables(db, manifest.tables, (table) => archive.read(tableFile(table)));
    return reportOf(manifest.files, stored.length);
  } finally {
    await archive.close();
  }
}

async function readManifest(archive: ArchiveReader): Promise<Manifest> {
  const found = archive.files.at(-1);
  if (found?.name !== MANIFEST) throw new BackupError('this is no backup of FedEdge: it has no manifest');
  const manifest = parseManifest(await readText(archive, MANIFEST));
  if (manifest.format !== FORMAT) throw new BackupError(`the format ${manifest.format} is not known`);
  const archived = JSON.stringify(archive.files.slice(0, -1));
  if (archived !== JSON.stringify(manifest.files)) {
    const damaged = manifest.files.filter(
      (file) => !archive.files.some(({ name, sha256 }) => name === file.name && sha256 === file.sha256),
    );
    throw new BackupError(`the backup is damaged: ${damaged.map(({ name }) => name).join(', ')}`);
  }
  return manifest;
}

/** Of every file the manifest has the digest; of itself too, except in the first backups. */
function parseManifest(text: string): Manifest {
  try {
    const { sha256, ...manifest } = JSON.parse(text) as Manifest & { sha256?: string };
    if (sha256 !== undefined && sha256 !== digestOf(manifest)) throw new Error('its digest is another one');
    return manifest;
  } catch (cause) {
    throw new BackupError(`the backup is damaged: ${MANIFEST}`, { cause });
  }
}

function digestOf(manifest: Manifest): string {
  return createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
}

/**
 * The store may be the original's, or that of a restore that was cut off: then its last names may stand for torn bytes, but
 * never for others.
 */
async function restoreBlob(blobs: BlobStore, archive: ArchiveReader, file: ArchivedFile): Promise<void> {
  const key = file.name.slice('blobs/'.length);
  try {
    await writeBlob(blobs, archive, file);
  } catch (error) {
    if (!(error instanceof BlobExistsError)) throw error;
    if ((await hashBlob(blobs, key)) === file.sha256) return;
    await blobs.delete(key);
    await writeBlob(blobs, archive, file);
  }
}

async function writeBlob(blobs: BlobStore, archive: ArchiveReader, file: ArchivedFile): Promise<void> {
  const { name, bytes } = file;
  const writer = await blobs.create(name.slice('blobs/'.length), { bytes });
  try {
    for await (const chunk of archive.read(name)) await writer.write(chunk);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

async function hashBlob(blobs: BlobStore, key: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of blobs.read(key)) hash.update(chunk);
  return hash.digest('hex');
}

async function writeSecret(dataDir: string, archive: ArchiveReader, name: string): Promise<void> {
  const file = `files/${name}`;
  if (!archive.files.some((archived) => archived.name === file)) return;
  const text = await readText(archive, file);
  const path = join(dataDir, name);
  if (await createSecretFile(path, text)) return;
  if ((await readFile(path, 'utf8')) !== text)
    throw new BackupError(`${path} is there already, and another one`);
}

async function readText(archive: ArchiveReader, name: string): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of archive.read(name)) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}

const tableFile = ({ name }: CopiedTable) => `tables/${name}.copy`;
const blobFile = (key: string) => `blobs/${key}`;

async function* textOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function reportOf(files: readonly ArchivedFile[], blobs: number): BackupReport {
  const tables = files.filter(({ name }) => name.startsWith('tables/')).length;
  return { tables, blobs, bytes: files.reduce((sum, { bytes }) => sum + bytes, 0) };
}
