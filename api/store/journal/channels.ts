import { sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';

/** Who is woken by what. A payload is a hint: whoever wakes looks at the tables. */
export const channels = {
  /** Devices that wait, and who folds what they send: assignments were made. */
  assignments: 'fededge_assignments',
  /** Workers: a round, a run or a device changed so that a worker may have something to do. `accept_updates` names it, too. */
  work: 'fededge_work',
  /** Watchers: events were committed. */
  events: 'fededge_events',
  /** Authentication caches: the payload is the device or operator key that changed. */
  credentials: 'fededge_credentials',
} as const;

export type Channel = (typeof channels)[keyof typeof channels];

/**
 * Wakes the listeners of a channel when the caller's transaction commits. Commits that notify are serialised by
 * PostgreSQL: never one per update.
 */
export async function notify(tx: Queryable, channel: Channel, payload = ''): Promise<void> {
  await tx.execute(sql`select pg_notify(${channel}, ${payload})`);
}
