import { and, eq, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { blobs, updates } from '../schema.ts';

/** Keeps the files of a round that was just published, those of rejected updates with them. */
export async function retainUpdateBlobs(tx: Queryable, roundId: string, until: Date): Promise<void> {
  await tx
    .update(updates)
    .set({ retainedUntil: until })
    .where(and(eq(updates.roundId, roundId), sql`${updates.retainedUntil} is null`));
}

/** Gives retained files whose time has come to the sweeper, at most `limit`. How many. */
export function releaseExpired(tx: Queryable, now: Date, limit: number): Promise<number> {
  return release(
    tx,
    sql`select ${updates.assignmentId} from ${updates}
      where ${updates.retainedUntil} <= ${now.toISOString()}::timestamptz
      limit ${limit} for update skip locked`,
  );
}

/** Gives the oldest retained files of federations that keep more than `quotaBytes` to the sweeper, at most `limit`. */
export function releaseOverQuota(tx: Queryable, quotaBytes: number, limit: number): Promise<number> {
  return release(
    tx,
    sql`select kept.assignment_id from (
        select assignment_id, sum(bytes) over (
          partition by federation_id order by received_at desc, assignment_id desc
        ) as total
        from ${updates} where ${updates.retainedUntil} is not null
      ) as kept where kept.total > ${quotaBytes} limit ${limit}`,
  );
}

async function release(tx: Queryable, chosen: ReturnType<typeof sql>): Promise<number> {
  const rows = await tx.execute(sql`
    with released as (
      update ${updates} set retained_until = null
      where ${updates.assignmentId} in (${chosen}) and ${updates.retainedUntil} is not null
      returning blob_key
    ), retired as (
      update ${blobs} set state = 'dead' from released where ${blobs.key} = released.blob_key
    )
    select 1 from released`);
  return rows.length;
}
