import { openAsBlob } from 'node:fs';
import { appendFile, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentStore } from './agent-store.ts';

const TEMPORARY = '.tmp';
const NAME = /^[a-z0-9][a-z0-9.-]{0,127}$/;

/** A store in a folder of its own that only its owner can read. One agent at a time uses it. */
export async function createFileStore(folder: string): Promise<AgentStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const at = (name: string): string => {
    // Names hold identifiers that a server chose: none may lead out of the folder.
    if (!NAME.test(name)) throw new Error(`${JSON.stringify(name)} is no name in a store`);
    return join(folder, name);
  };
  const list = async () => (await readdir(folder)).filter((name) => !name.endsWith(TEMPORARY));
  return {
    list,
    // Node's typings allow a shared buffer, which readFile never makes.
    read: (name) => unlessMissing(async () => readFile(at(name)) as Promise<Uint8Array<ArrayBuffer>>),
    // openAsBlob does not tell a missing file from others.
    open: (name) => unlessMissing(async () => (await stat(at(name))) && openAsBlob(at(name))),
    write: async (name, bytes) => replaceFile(folder, at(name), bytes),
    append: async (name, bytes) => appendFile(at(name), bytes, { mode: 0o600 }),
    remove: async (name) => rm(at(name), { force: true }),
  };
}

/** Written beside its place, synced and renamed: after a crash the old bytes or the new ones are there. */
async function replaceFile(folder: string, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = path + TEMPORARY;
  const file = await open(temporary, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  await syncFolder(folder);
}

async function syncFolder(folder: string): Promise<void> {
  // Windows cannot open a folder, and makes renames durable by itself.
  if (process.platform === 'win32') return;
  const handle = await open(folder);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function unlessMissing<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
