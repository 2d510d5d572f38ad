import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from './config.ts';
import type { Deps } from './deps.ts';
import { createFailpoints } from './failpoints.ts';
import { createKernels } from './kernels/kernels.ts';
import { measureBlobs, measureDatabase } from './metrics/measured.ts';
import type { Metrics } from './metrics/metrics.ts';
import { awaitSchema, outlastOutage, type Waiting } from './patience.ts';
import { StartError } from './process.ts';
import { diagnose } from './services/diagnosis.ts';
import { ensureFederation } from './services/identity/federation.ts';
import { createOidcIssuers } from './services/identity/oidc/operator-tokens.ts';
import { followTokenKeys } from './services/identity/token-key-reload.ts';
import { loadTokenKeys } from './services/identity/token-keys.ts';
import type { BlobStore } from './store/blobs/blob-store.ts';
import { createFileBlobs } from './store/blobs/file-blobs.ts';
import { markBlobs } from './store/blobs/marked-blobs.ts';
import { createS3Blobs } from './store/blobs/s3/s3-blobs.ts';
import { type Connection, type Database, openDatabase } from './store/database.ts';
import { startDatabaseClock } from './store/database-clock.ts';
import { createCredentialCache } from './store/identity/credential-cache.ts';
import { startListener } from './store/journal/listener.ts';
import { migrateDatabase, type SchemaState } from './store/migrate.ts';
import { recordOfStore } from './store/models/blob-rows.ts';
import { examineDatabase } from './store/requirements.ts';
import { acquireServerLock } from './store/server-lock.ts';

/** What a root knows when it builds the dependencies. */
export interface Surroundings extends Waiting {
  config: Config;
  /** A database by URL, or the embedded one's connection, which this process then has for itself. */
  target: string | Connection;
  publicUrl: string;
  metrics: Metrics;
  /** Hears what the database's schema is while nothing can be done with it. */
  onWait?: (schema: SchemaState) => void;
}

export interface OpenDeps {
  deps: Deps;
  /** Ends the connections. Nothing may use `deps` any longer. */
  close(): Promise<void>;
}

/**
 * The one place where the parts are put together: brings the database to this version's schema (or waits until somebody
 * has), sees to it that somebody can manage the federation, and answers what services work with. A database that cannot be
 * reached is tried for a minute.
 */
export async function openDeps(surroundings: Surroundings): Promise<OpenDeps> {
  try {
    return await outlastOutage(() => openOnce(surroundings), surroundings);
  } catch (error) {
    if (surroundings.stopping.aborted) throw error;
    throw await explain(error, surroundings);
  }
}

/** Every fault that can be found, not only the one that came first. */
async function explain(error: unknown, { config }: Surroundings): Promise<unknown> {
  const blobs = openBlobs(config, async () => {});
  const findings = await diagnose({ config, blobs }, ['port']);
  const faults = findings.filter(({ state }) => state === 'fault');
  if (faults.length === 0) return error;
  const lines = faults.map(({ check, message }) => `  - ${check}: ${message}`);
  return new StartError(`FedEdge cannot start:\n${lines.join('\n')}`, { cause: error });
}

/** What does not keep a server from starting, but will be missed. */
async function warn({ config, blobs, log }: Deps): Promise<void> {
  for (const { check, state, message } of await diagnose({ config, blobs }, ['port', 'database'])) {
    if (state !== 'ok') log.warn({ check, state }, message);
  }
}

async function openOnce(surroundings: Surroundings): Promise<OpenDeps> {
  const { config, log, stopping, target, publicUrl, metrics } = surroundings;
  const db = openPool(surroundings);
  try {
    await requireUsable(db, surroundings);
    if (config.migrate === 'off') await awaitSchema(db, surroundings);
    const unlock = typeof target === 'string' ? undefined : await acquireServerLock(db);
    const [keys, clock, listener] = await Promise.all([
      loadTokenKeys({ dataDir: config.dataDir, file: config.tokenKeysFile }),
      startDatabaseClock(db, (error) => log.warn({ err: error }, 'the database does not tell its time')),
      startListener(db),
      config.migrate === 'on' ? migrateDatabase(target) : undefined,
    ]);
    const failpoint = createFailpoints(config.failpoint);
    const kernels = createKernels();
    const deps: Deps = {
      config,
      publicUrl,
      db,
      listener,
      blobs: measureBlobs(openFederationBlobs(config, db, failpoint), metrics),
      clock,
      keys,
      credentials: createCredentialCache(listener),
      issuers: createOidcIssuers(config.oidcIssuers, log),
      log,
      metrics,
      createScanner: () => kernels.createScanner(),
      stopping,
      failpoint,
    };
    await ensureFederation(deps);
    void warn(deps);
    const following = followTokenKeys(keys, { dataDir: config.dataDir, file: config.tokenKeysFile }, log);
    const onHangUp = () => void following.reload();
    process.on('SIGHUP', onHangUp);
    const close = async () => {
      process.off('SIGHUP', onHangUp);
      following.stop();
      clock.stop();
      // The end of its session frees the lock, too, should the database say nothing.
      await Promise.race([unlock?.().catch(() => undefined), sleep(UNLOCK_MS, undefined, { ref: false })]);
      await db.close();
    };
    return { deps, close };
  } catch (error) {
    await db.close();
    throw error;
  }
}

function openPool({ target, config, metrics }: Surroundings): Database {
  const { databaseConnections: connections, databaseTimeoutMs: timeoutMs } = config;
  return measureDatabase(openDatabase(target, { connections, timeoutMs }), metrics);
}

/** The embedded database is what we brought; another one may be anything. */
async function requireUsable({ client }: Database, { config, target }: Surroundings): Promise<void> {
  if (typeof target !== 'string') return;
  const { faults } = await examineDatabase(client, { migrates: config.migrate === 'on' });
  if (faults.length > 0) throw new StartError(`DATABASE_URL: ${faults.join('; ')}`);
}

/** At the end, when a process has little time left. */
const UNLOCK_MS = 1_000;
/** A folder's volume may go while we run, a bucket hardly. */
const BUCKET_LOOK_MS = 60_000;

/** The blobs of the database's federation, which has to be there. */
export function openFederationBlobs(
  config: Config,
  { pool }: Pick<Database, 'pool'>,
  failpoint: Deps['failpoint'],
): BlobStore {
  const lookMs = config.s3 ? BUCKET_LOOK_MS : 0;
  return markBlobs(openBlobs(config, failpoint), recordOfStore(pool), { lookMs });
}

/** Where blobs are: S3 if it is configured, else the data folder. */
export function openBlobs({ s3, dataDir }: Config, failpoint: Deps['failpoint']): BlobStore {
  if (!s3) return createFileBlobs({ dir: join(dataDir, 'blobs'), failpoint });
  const { url, ...access } = s3;
  const { origin, pathname } = new URL(url);
  const [bucket = '', ...folders] = pathname.split('/').filter((part) => part !== '');
  const prefix = folders.map((folder) => `${folder}/`).join('');
  return createS3Blobs({ ...access, endpoint: origin, bucket, prefix, pathStyle: true, failpoint });
}
