import { rmSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres from 'postgres';
import { processCommand, processIdentity } from './processes.ts';

/** A PostgreSQL server process on one data folder, as its own postmaster.pid describes it. */
export interface Postmaster {
  pid: number;
  port: number;
  socketFolder: string;
  status: string;
}

export const databaseUser = 'fededge';
export const databaseName = 'fededge';

const fastShutdownMs = 20_000;
const readyMs = 300_000;

export async function readPostmaster(data: string): Promise<Postmaster | undefined> {
  const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '');
  const [pid, , , port, socketFolder, , , status] = text.split('\n').map((line) => line.trim());
  if (!status || !socketFolder) return undefined;
  return { pid: Number(pid), port: Number(port), socketFolder, status };
}

/**
 * The server that an earlier, killed owner of `data` left running, once it takes connections. Waits for one that
 * starts or stops, ends one that cannot be reached, and clears a postmaster.pid whose pid is another program's
 * by now (PostgreSQL would refuse to start). The caller owns the data folder.
 */
export async function findRunning(data: string): Promise<Postmaster | undefined> {
  const deadline = Date.now() + readyMs;
  for (;;) {
    const found = await readPostmaster(data);
    if (!found || !(await runsOn(found.pid, data))) {
      await rm(join(data, 'postmaster.pid'), { force: true });
      return undefined;
    }
    if (found.status === 'ready' && (await servesData(found, data))) return found;
    if (found.status === 'ready' || Date.now() > deadline) await stopPostmaster(found);
    await sleep(10);
  }
}

/** Ends a server that was left running on `data`, whatever its state. */
export async function stopRunning(data: string): Promise<void> {
  const found = await readPostmaster(data);
  if (found && (await runsOn(found.pid, data))) await stopPostmaster(found);
  await rm(join(data, 'postmaster.pid'), { force: true });
}

/** Fast shutdown: sessions are ended, everything committed is on disk. Resolves when the process is gone. */
export async function stopPostmaster({
  pid,
  socketFolder,
}: Pick<Postmaster, 'pid' | 'socketFolder'>): Promise<void> {
  const identity = await processIdentity(pid);
  if (identity !== undefined) {
    signal(pid, 'SIGINT');
    // Immediate shutdown loses nothing either; the next start recovers from the log.
    const impatient = setTimeout(() => signal(pid, 'SIGQUIT'), fastShutdownMs);
    while ((await processIdentity(pid)) === identity) await sleep(5);
    clearTimeout(impatient);
  }
  await removeSocketFolder(socketFolder);
}

/** Asks for a fast shutdown without waiting: all that can be done while our process exits. */
export function abandon({ pid, socketFolder }: Postmaster): void {
  signal(pid, 'SIGINT');
  if (isSocketFolder(socketFolder)) rmSync(socketFolder, { recursive: true, force: true });
}

function signal(pid: number, name: 'SIGINT' | 'SIGQUIT'): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Removes a folder, if it is one that was made for a socket. */
export async function removeSocketFolder(folder: string): Promise<void> {
  if (isSocketFolder(folder)) await rm(folder, { recursive: true, force: true });
}

function isSocketFolder(folder: string): boolean {
  return /\/fededge-\w{6}$/.test(folder);
}

async function runsOn(pid: number, data: string): Promise<boolean> {
  return (await processIdentity(pid)) !== undefined && (await processCommand(pid)).includes(` -D ${data} `);
}

async function servesData(found: Postmaster, data: string): Promise<boolean> {
  const options = {
    host: found.socketFolder,
    port: found.port,
    database: 'postgres',
    username: databaseUser,
  };
  const sql = postgres({ ...options, max: 1, connect_timeout: 5, onnotice: () => {} });
  try {
    const [row] = await sql`show data_directory`;
    return row?.data_directory === data;
  } catch {
    return false;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Creates FedEdge's database in a cluster that may have it already. */
export async function ensureDatabase({ socketFolder, port }: Postmaster): Promise<void> {
  const options = { host: socketFolder, port, database: 'postgres', username: databaseUser };
  const sql = postgres({ ...options, max: 1, onnotice: () => {} });
  try {
    const found = await sql`select 1 from pg_database where datname = ${databaseName}`;
    if (found.length === 0) await sql`create database ${sql(databaseName)}`;
  } finally {
    await sql.end({ timeout: 1 });
  }
}
