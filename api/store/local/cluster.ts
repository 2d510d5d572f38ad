import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { writesThrough } from '../write-through.ts';
import { type Binaries, NoEmbeddedDatabaseError } from './binaries.ts';
import type { Placement } from './placement.ts';
import { databaseUser, type Postmaster, readPostmaster, removeSocketFolder } from './postmaster.ts';
import { isReachable } from './reach.ts';

/** Values for PostgreSQL's settings, by name. */
export type Settings = Readonly<Record<string, string>>;

/** Sized for a laptop or a gateway of the Raspberry class: one process of ours, some dozen connections. */
const settings: Settings = {
  listen_addresses: '',
  port: '5432',
  max_connections: '60',
  shared_buffers: '32MB',
  work_mem: '4MB',
  maintenance_work_mem: '32MB',
  effective_cache_size: '256MB',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  huge_pages: 'off',
  jit: 'off',
  io_method: 'sync',
  max_parallel_workers: '0',
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  max_logical_replication_workers: '0',
  autovacuum_worker_slots: '2',
  autovacuum_max_workers: '2',
  log_checkpoints: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

const maxLogBytes = 8 << 20;
const maxSocketPathBytes = 100;
const environment = { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' };

/**
 * Creates the data folder. It appears whole and durable or not at all: an initdb whose parent was killed goes on
 * in a folder of its own, which nobody uses. With `sync: false` (tests) it is not durable.
 */
export async function initialise(place: Placement, binaries: Binaries, sync: boolean): Promise<void> {
  const names = await readdir(place.home);
  const abandoned = names.filter((name) => name.startsWith('draft-'));
  for (const name of abandoned) {
    await rm(join(place.home, name), { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
  const draft = await mkdtemp(join(place.home, 'draft-'));
  if (place.user) await chown(draft, place.user.uid, place.user.gid);
  await runInitdb(draft, place, binaries, sync);
  await rename(draft, place.data);
  if (sync) await syncFolders([place.home, dirname(place.home), dirname(dirname(place.home))]);
}

async function runInitdb(folder: string, place: Placement, binaries: Binaries, sync: boolean) {
  const locale = ['--encoding=UTF8', '--locale-provider=builtin', '--locale=C', '--builtin-locale=C.UTF-8'];
  const access = [`--username=${databaseUser}`, '--auth=trust'];
  const options = ['-D', folder, ...access, ...locale, '--no-instructions', ...(sync ? [] : ['--no-sync'])];
  const child = spawn(join(binaries.folder, 'bin/initdb'), options, {
    ...place.user,
    cwd: '/',
    env: environment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const code = await ended(child);
  if (code !== 0) throw new Error(`initdb failed (${code}) in ${folder}: ${output.trim()}`);
}

/** A folder's new entries are durable once the folder itself is synced. */
async function syncFolders(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    const handle = await open(folder);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

/** Resolves to the exit code; a program that cannot be executed at all is a platform that we do not serve. */
async function ended(child: ChildProcess): Promise<number | null> {
  try {
    const [code] = (await once(child, 'close')) as [number | null];
    return code;
  } catch (cause) {
    throw new NoEmbeddedDatabaseError('The embedded PostgreSQL does not run on this system.', { cause });
  }
}

/**
 * Starts the server and waits until it takes connections. It survives our death, as a process group of its own. One
 * that takes a dead one's place takes its `socketFolder`: who is connected comes back there.
 */
export async function launch(
  place: Placement,
  binaries: Binaries,
  options: { logFile: string; settings?: Settings; socketFolder?: string },
): Promise<Postmaster & { child: ChildProcess }> {
  const socketFolder = options.socketFolder ?? (await makeSocketFolder(place));
  // A commit is one call then, not two.
  const through = (await writesThrough(place.data)) && { wal_sync_method: 'open_datasync' };
  const all = { ...settings, ...through, ...options.settings, unix_socket_directories: socketFolder };
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const log = await openLog(options.logFile);
  try {
    const child = spawn(join(binaries.folder, 'bin/postgres'), ['-D', place.data, ...flags], {
      ...place.user,
      cwd: '/',
      env: environment,
      detached: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    child.unref();
    return { ...(await untilReady(child, place.data, options.logFile)), child };
  } catch (error) {
    if (!options.socketFolder) await removeSocketFolder(socketFolder);
    throw error;
  } finally {
    await log.close();
  }
}

async function untilReady(child: ChildProcess, data: string, logFile: string): Promise<Postmaster> {
  let failure: Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  // No limit of time while it lives: after a power loss it may have to recover first.
  while (!failure && child.exitCode === null && child.signalCode === null) {
    const found = await readPostmaster(data);
    if (found?.pid === child.pid && found?.status === 'ready') return found;
    await sleep(3);
  }
  const tail = (await readFile(logFile, 'utf8').catch(() => '')).trim().split('\n').slice(-5).join('\n');
  throw new Error(`PostgreSQL did not start (its log is ${logFile}):\n${tail}`, { cause: failure });
}

/** Nobody but the database's user and root may enter it: its mode is the database's access control. */
async function makeSocketFolder({ home, user }: Placement): Promise<string> {
  // A server that was killed leaves its folder behind.
  const note = join(home, 'socket-folder');
  await removeSocketFolder(await readFile(note, 'utf8').catch(() => ''));
  for (const parent of [tmpdir(), '/tmp']) {
    const longest = join(parent, 'fededge-xxxxxx', '.s.PGSQL.5432.lock');
    if (Buffer.byteLength(longest) >= maxSocketPathBytes) continue;
    if (user && !(await isReachable(parent, user))) continue;
    const folder = await mkdtemp(join(parent, 'fededge-'));
    await writeFile(note, folder);
    if (user) await chown(folder, user.uid, user.gid);
    return folder;
  }
  throw new Error(`No folder for the database's socket: ${tmpdir()} is too deep or closed to others`);
}

async function openLog(path: string) {
  const size = await stat(path).then(
    (stats) => stats.size,
    () => 0,
  );
  if (size > maxLogBytes) await rename(path, `${path}.1`);
  return await open(path, 'a', 0o600);
}
