import type { Database } from '../database.ts';

/** The two kinds of work that one replica does at a time. */
export const catalogLocks = { reconcile: 4_021_990_006, import: 4_021_990_007 } as const;

/**
 * Does `work` unless another process does work of that kind: `undefined` then. The lock belongs to a session, so that
 * it ends with the process.
 */
export async function whileAlone<T>(
  { client }: Pick<Database, 'client'>,
  lock: (typeof catalogLocks)[keyof typeof catalogLocks],
  work: () => Promise<T>,
): Promise<T | undefined> {
  const session = await client.reserve();
  try {
    const [row] = await session<[{ held: boolean }]>`select pg_try_advisory_lock(${lock}) as held`;
    if (!row.held) return undefined;
    try {
      return await work();
    } finally {
      await session`select pg_advisory_unlock(${lock})`;
    }
  } finally {
    session.release();
  }
}
