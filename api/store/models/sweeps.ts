import { and, asc, eq, inArray, lt, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { blobs, GONE_STATES, usedAssertions } from '../schema.ts';

/** Its bytes are to be deleted, and then its row. */
export const isGone = inArray(blobs.state, [...GONE_STATES]);

/**
 * Marks blobs abandoned that were announced before `before` and never referred to; returns how many. From then on they
 * cannot become live: settling is conditional on `writing`.
 */
export async function markAbandonedBlobs(q: Queryable, before: Date, limit: number): Promise<number> {
  const abandoned = q
    .select({ key: blobs.key })
    .from(blobs)
    .where(and(eq(blobs.state, 'writing'), lt(blobs.createdAt, before)))
    .orderBy(asc(blobs.createdAt))
    .limit(limit)
    .for('update', { skipLocked: true });
  const rows = await q
    .update(blobs)
    .set({ state: 'abandoned' })
    .where(and(inArray(blobs.key, abandoned), eq(blobs.state, 'writing')))
    .returning({ key: blobs.key });
  return rows.length;
}

interface GoneBlob {
  key: string;
  state: (typeof blobs.$inferSelect)['state'];
}

/** Blobs whose bytes may be deleted. Several workers may get the same ones: deleting is idempotent, keys are never used again. */
export function listGoneBlobs(q: Queryable, limit: number): Promise<GoneBlob[]> {
  return q
    .select({ key: blobs.key, state: blobs.state })
    .from(blobs)
    .where(isGone)
    .orderBy(asc(blobs.state), asc(blobs.createdAt))
    .limit(limit);
}

/** Forgets blobs whose bytes are gone. */
export async function forgetBlobs(q: Queryable, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await q.delete(blobs).where(and(inArray(blobs.key, [...keys]), isGone));
}

/** Forgets at most `limit` assertions that are past their expiry, so cannot be used again anyway. */
export async function forgetAssertions(q: Queryable, now: Date, limit: number): Promise<number> {
  const rows = await q.execute(sql`
    delete from ${usedAssertions} where ctid in (
      select ctid from ${usedAssertions} where ${usedAssertions.expiresAt} < ${now.toISOString()}::timestamptz
      limit ${limit} for update skip locked
    ) returning 1`);
  return rows.length;
}
