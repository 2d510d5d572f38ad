import type postgres from 'postgres';
import type { Database } from './database.ts';

const SWEEP_LOCK = 4_021_990_005;

/** The session that kept the sweepers away has ended before its time: a blob may have been deleted meanwhile. */
export class SweepLockLostError extends Error {
  override name = 'SweepLockLostError';

  /** `outcome`: what became of the work, which may have failed for this. */
  constructor(outcome: PromiseSettledResult<unknown>) {
    super(
      'The session with the database was lost',
      outcome.status === 'rejected' ? { cause: outcome.reason } : {},
    );
  }
}

/**
 * Deletes some blobs by `work`, which looks for them itself, unless a backup is being made: `undefined` then. Any number of
 * sweepers at once. Both locks belong to sessions, so they end with the process.
 */
export async function unlessPaused<T>(
  { client }: Pick<Database, 'client'>,
  work: () => Promise<T>,
): Promise<T | undefined> {
  const session = await client.reserve();
  try {
    const [row] = await session<
      [{ held: boolean }]
    >`select pg_try_advisory_lock_shared(${SWEEP_LOCK}) as held`;
    if (!row.held) return undefined;
    try {
      return await work();
    } finally {
      await session`select pg_advisory_unlock_shared(${SWEEP_LOCK})`;
    }
  } finally {
    session.release();
  }
}

/** Does `work` while no blob is deleted. Waits for the deletions that are under way. Throws SweepLockLostError, too. */
export async function whileSweepersPause<T>(
  { client }: Pick<Database, 'client'>,
  work: () => Promise<T>,
): Promise<T> {
  const session = await client.reserve();
  try {
    await session`select pg_advisory_lock(${SWEEP_LOCK})`;
    const [outcome] = await Promise.allSettled([work()]);
    if (!(await unlock(session))) throw new SweepLockLostError(outcome);
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  } finally {
    session.release();
  }
}

/** False: it was not held any more. */
async function unlock(session: postgres.Sql): Promise<boolean> {
  try {
    const [row] = await session<[{ held: boolean }]>`select pg_advisory_unlock(${SWEEP_LOCK}) as held`;
    return row.held;
  } catch {
    return false;
  }
}
