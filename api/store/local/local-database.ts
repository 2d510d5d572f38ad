import { access, mkdir, readFile, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Binaries, prepareBinaries } from './binaries.ts';
import { initialise, launch, type Settings } from './cluster.ts';
import { acquireOwnership, type Ownership } from './owner.ts';
import { type Placement, placeDatabase } from './placement.ts';
import * as postmaster from './postmaster.ts';
import { supervise } from './supervision.ts';

export { NoEmbeddedDatabaseError } from './binaries.ts';
export { acquireOwnership, DataFolderInUseError, type Ownership } from './owner.ts';

/** What a PostgreSQL driver needs; `host` is the folder of the Unix socket, `password` is empty. */
export interface LocalConnection {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

export interface LocalDatabase {
  readonly connection: LocalConnection;
  /** True when the server of an earlier, killed owner was still running and is used on. */
  readonly adopted: boolean;
  /** Stops PostgreSQL and gives the data folder back. Idempotent. */
  stop(): Promise<void>;
}

export interface LocalDatabaseOptions {
  dataDir: string;
  log?: (message: string) => void;
  /** The data folder's ownership when the caller holds it already; `stop()` then leaves it to the caller. */
  ownership?: Ownership;
  /** PostgreSQL settings over the defaults; `fsync: 'off'` is for tests. */
  settings?: Settings;
}

/**
 * Starts the embedded PostgreSQL of `dataDir` (created on the first start) on a Unix socket and resolves when it
 * takes connections. It is started again if it dies, and stopped by `stop()` or at the exit of this process; after a
 * kill -9 of ours the next start adopts it. Throws DataFolderInUseError when another process owns the folder, NoEmbeddedDatabaseError on a
 * platform without binaries.
 */
export async function startLocalDatabase(options: LocalDatabaseOptions): Promise<LocalDatabase> {
  await mkdir(options.dataDir, { recursive: true });
  const dataDir = await realpath(options.dataDir);
  const ownership = options.ownership ?? (await acquireOwnership(dataDir));
  const giveBack = async () => {
    if (!options.ownership) await ownership.release();
  };
  try {
    const { server, adopted } = await startServer({ ...options, dataDir });
    const restart = () => startAgain(server.socketFolder, { ...options, dataDir });
    const supervision = await supervise(server, restart, options.log ?? (() => {}));
    const stopAtExit = () => postmaster.abandon(supervision.current());
    process.once('exit', stopAtExit);
    let stopped: Promise<void> | undefined;
    const stop = async () => {
      await supervision.end();
      await postmaster.stopPostmaster(supervision.current());
      process.off('exit', stopAtExit);
      await giveBack();
    };
    return {
      connection: connectionTo(server),
      adopted,
      stop: () => {
        stopped ??= stop();
        return stopped;
      },
    };
  } catch (error) {
    await giveBack();
    throw error;
  }
}

/** How a driver reaches a server. */
export function connectionTo({ socketFolder, port }: postmaster.Postmaster): LocalConnection {
  const { databaseUser: user, databaseName: database } = postmaster;
  return { host: socketFolder, port, user, password: '', database };
}

interface Started {
  server: postmaster.Postmaster;
  adopted: boolean;
}

async function startServer(options: LocalDatabaseOptions): Promise<Started> {
  const log = options.log ?? (() => {});
  const began = performance.now();
  const place = await placeDatabase(options.dataDir);
  const running = await postmaster.findRunning(place.data);
  const started = running ? { server: running, adopted: true } : await startStopped(place, options);
  await finishFirstStart(place, started.server);
  const verb = started.adopted ? 'adopted' : 'started';
  const milliseconds = Math.round(performance.now() - began);
  log(`PostgreSQL ${verb} in ${milliseconds} ms (process ${started.server.pid}, data in ${place.data})`);
  return started;
}

/** What the dead server has left is PostgreSQL's to judge: it refuses to start while sessions of that one are alive. */
async function startAgain(
  socketFolder: string,
  options: LocalDatabaseOptions,
): Promise<postmaster.Postmaster> {
  const place = await placeDatabase(options.dataDir);
  const binaries = await prepareBinaries(place.home, place.user);
  const { settings } = options;
  const logFile = join(options.dataDir, 'postgres.log');
  return launch(place, binaries, { logFile, socketFolder, ...(settings && { settings }) });
}

async function startStopped(place: Placement, options: LocalDatabaseOptions): Promise<Started> {
  const { dataDir, settings } = options;
  const binaries = await prepareBinaries(place.home, place.user);
  if (await exists(place.data)) await checkVersion(place, binaries);
  else await initialise(place, binaries, settings?.fsync !== 'off');
  const launchOptions = { logFile: join(dataDir, 'postgres.log'), ...(settings && { settings }) };
  for (let attempt = 1; ; attempt += 1) {
    try {
      return { server: await launch(place, binaries, launchOptions), adopted: false };
    } catch (error) {
      // A server whose owner was killed in the very moment of starting it may have come up first.
      const server = await postmaster.findRunning(place.data);
      if (server) return { server, adopted: true };
      if (attempt === 2) throw error;
    }
  }
}

/** A marker file says that the database exists, so that later starts need not ask. */
async function finishFirstStart({ home }: Placement, server: postmaster.Postmaster): Promise<void> {
  const marker = join(home, 'initialised');
  if (await exists(marker)) return;
  await postmaster.ensureDatabase(server);
  await writeFile(marker, '');
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function checkVersion({ data }: Placement, { version }: Binaries): Promise<void> {
  const created = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim();
  if (version.split('.')[0] === created) return;
  throw new Error(
    `The database in ${data} was made by PostgreSQL ${created}; this FedEdge brings ${version}. ` +
      'Export it with the FedEdge version that made it, or set DATABASE_URL.',
  );
}
