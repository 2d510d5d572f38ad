import { sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { events } from '../schema.ts';

export interface NewEvent {
  federationId: string;
  /** `round.completed`, `device.registered` ... */
  type: string;
  subject: Record<string, string | number>;
  createdAt: Date;
}

/** Notes an event in the caller's transaction: it exists if and only if what it tells of was committed. */
export async function recordEvent(tx: Queryable, event: NewEvent): Promise<void> {
  await tx.insert(events).values(event);
}

/** Forgets the oldest events, at most `limit` of them, that happened before; never the last one: positions go on from it. */
export async function forgetEvents(q: Queryable, before: Date, limit: number): Promise<number> {
  const rows = await q.execute(sql`
    delete from ${events} where ${events.id} in (
      select oldest.id from (
        select id, position, created_at from ${events} where position is not null order by position limit ${limit}
      ) as oldest
      where oldest.created_at < ${before.toISOString()}::timestamptz
        and oldest.position < (select max(position) from ${events})
    ) returning 1`);
  return rows.length;
}
