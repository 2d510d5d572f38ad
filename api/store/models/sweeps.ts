import { and, asc, eq, inArray, lt, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { blobs, usedAssertions } from '../schema.ts';

/**
 * Marks blobs dead that were announced before `before` and never referred to; returns how many. From then on they
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
    .set({ state: 'dead' })
    .where(and(inArray(blobs.key, abandoned), eq(blobs.state, 'writing')))
    .returning({ key: blobs.key });
  return rows.length;
}

/** Blobs whose bytes may be deleted. Several workers may get the same ones: deleting is idempotent, keys are never used again. */
export function listDeadBlobs(q: Queryable, limit: number): Promise<{ key: string; createdAt: Date }[]> {
  return q
    .select({ key: blobs.key, createdAt: blobs.createdAt })
    .from(blobs)
    .where(eq(blobs.state, 'dead'))
    .orderBy(asc(blobs.createdAt))
    .limit(limit);
}

/** Forgets blobs whose bytes are gone. */
export async function forgetBlobs(q: Queryable, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await q.delete(blobs).where(and(inArray(blobs.key, [...keys]), eq(blobs.state, 'dead')));
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
