import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { loadConfig } from '../../api/config.ts';
import type { Deps } from '../../api/deps.ts';
import { createKernels } from '../../api/kernels/kernels.ts';
import { createCredentialCache } from '../../api/services/credential-cache.ts';
import { loadTokenKeys } from '../../api/services/token-keys.ts';
import { createFileBlobs } from '../../api/store/blobs/file-blobs.ts';
import { openDatabase } from '../../api/store/database.ts';
import { startListener } from '../../api/store/listener.ts';
import { migrateDatabase } from '../../api/store/migrate.ts';
import { createTestDatabase } from './postgres.ts';

/** A clock that stands still until a test moves it. */
export interface TestClock {
  now(): Date;
  advance(ms: number): void;
}

export interface TestDeps {
  deps: Deps;
  clock: TestClock;
  /** Another replica on the same database and blobs, with a connection pool and caches of its own. */
  replica(): Promise<Deps>;
  close(): Promise<void>;
}

function createTestClock(): TestClock {
  let time = Date.parse('2026-01-15T10:00:00.000Z');
  return {
    now: () => new Date(time),
    advance(ms) {
      time += ms;
    },
  };
}

/** Everything real but the clock: a database of its own, blobs in a temporary folder, a silent log. */
export async function createTestDeps(env: Record<string, string> = {}): Promise<TestDeps> {
  const database = await createTestDatabase({ migrate: migrateDatabase });
  const dataDir = await mkdtemp(join(tmpdir(), 'fededge-deps-'));
  const clock = createTestClock();
  const config = loadConfig({ FEDEDGE_DATA_DIR: dataDir, FEDEDGE_LOG_LEVEL: 'silent', ...env });
  const keys = await loadTokenKeys({ dataDir, file: undefined });
  const kernels = createKernels();
  const stopping = new AbortController();
  const opened: Deps[] = [];

  async function open(): Promise<Deps> {
    const db = openDatabase(database.connection, { connections: 8 });
    const listener = await startListener(db);
    const deps: Deps = {
      config,
      publicUrl: 'http://fededge.test',
      db,
      listener,
      blobs: createFileBlobs({ dir: join(dataDir, 'blobs') }),
      clock,
      keys,
      credentials: createCredentialCache(listener),
      log: pino({ level: 'silent' }),
      createScanner: () => kernels.createScanner(),
      stopping: stopping.signal,
      failpoint: async () => undefined,
    };
    opened.push(deps);
    return deps;
  }

  return {
    deps: await open(),
    clock,
    replica: open,
    async close() {
      stopping.abort();
      for (const { db } of opened) await db.close();
      await database.drop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
