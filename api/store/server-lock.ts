import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from './database.ts';

const SERVER_LOCK = 4_021_990_004;
const RETRY_MS = 50;
/** The session of a server that was just killed ends as soon as PostgreSQL notices. */
const PATIENCE_MS = 1_500;

/** Another server works on this database. */
export class DatabaseInUseError extends Error {
  constructor(since: string) {
    super(
      `Another FedEdge server is connected to this data folder's database since ${since}. Stop it first.`,
    );
    this.name = 'DatabaseInUseError';
  }
}

/**
 * Makes this process the only server of an embedded database, until the answered function is called or its session
 * ends. Throws DatabaseInUseError if another process is that already.
 */
export async function acquireServerLock({ client }: Pick<Database, 'client'>): Promise<() => Promise<void>> {
  const session = await client.reserve();
  for (let waited = 0; ; waited += RETRY_MS) {
    const [row] = await session<[{ held: boolean }]>`select pg_try_advisory_lock(${SERVER_LOCK}) as held`;
    if (row.held) break;
    if (waited >= PATIENCE_MS) {
      const [holder] = await session<{ since: string }[]>`
        select to_char(backend_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as since
        from pg_stat_activity join pg_locks using (pid)
        where locktype = 'advisory' and (classid::bigint << 32) + objid::bigint = ${SERVER_LOCK} and granted`;
      session.release();
      throw new DatabaseInUseError(holder?.since ?? 'just now');
    }
    await sleep(RETRY_MS);
  }
  return async () => {
    await session`select pg_advisory_unlock(${SERVER_LOCK})`;
    session.release();
  };
}
