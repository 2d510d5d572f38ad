import { and, eq, gt, isNull, lt, sql } from 'drizzle-orm';
import type { Page } from '../../domain/page.ts';
import type { Queryable } from '../database.ts';
import { devices, enrollmentTokens } from '../schema.ts';

export type EnrollmentTokenRow = typeof enrollmentTokens.$inferSelect;

export async function insertEnrollmentToken(
  tx: Queryable,
  token: typeof enrollmentTokens.$inferInsert,
): Promise<EnrollmentTokenRow> {
  const rows = await tx.insert(enrollmentTokens).values(token).returning();
  return rows[0]!;
}

/** The token with this secret, in whichever federation: it is what names the federation. */
export async function findEnrollmentTokenBySecret(
  q: Queryable,
  secretHash: string,
): Promise<EnrollmentTokenRow | undefined> {
  const rows = await q.select().from(enrollmentTokens).where(eq(enrollmentTokens.secretHash, secretHash));
  return rows[0];
}

/** Tokens in the order of their making, one more than the page takes. */
export function listEnrollmentTokens(
  q: Queryable,
  federationId: string,
  page: Page,
): Promise<EnrollmentTokenRow[]> {
  return q
    .select()
    .from(enrollmentTokens)
    .where(
      and(
        eq(enrollmentTokens.federationId, federationId),
        page.after === undefined ? undefined : gt(enrollmentTokens.id, page.after),
      ),
    )
    .orderBy(enrollmentTokens.id)
    .limit(page.limit + 1);
}

/**
 * Takes one use. Of two registrations that race for the last one the second waits for the first to commit, sees its
 * count and matches no row.
 */
export async function takeEnrollmentUse(tx: Queryable, id: string, now: Date): Promise<boolean> {
  const rows = await tx
    .update(enrollmentTokens)
    .set({ uses: sql`${enrollmentTokens.uses} + 1` })
    .where(
      and(
        eq(enrollmentTokens.id, id),
        isNull(enrollmentTokens.revokedAt),
        gt(enrollmentTokens.expiresAt, now),
        lt(enrollmentTokens.uses, enrollmentTokens.maxUses),
      ),
    )
    .returning({ id: enrollmentTokens.id });
  return rows.length > 0;
}

/** `changed` is false if it was revoked before. Undefined: there is no such token. */
export async function markEnrollmentTokenRevoked(
  tx: Queryable,
  federationId: string,
  id: string,
  now: Date,
): Promise<{ changed: boolean } | undefined> {
  const mine = and(eq(enrollmentTokens.id, id), eq(enrollmentTokens.federationId, federationId));
  const changed = await tx
    .update(enrollmentTokens)
    .set({ revokedAt: now })
    .where(and(mine, isNull(enrollmentTokens.revokedAt)))
    .returning({ id: enrollmentTokens.id });
  if (changed.length > 0) return { changed: true };
  const found = await tx.select({ id: enrollmentTokens.id }).from(enrollmentTokens).where(mine);
  return found.length > 0 ? { changed: false } : undefined;
}

/** Whether a device has ever registered with the federation, or could now. */
export async function canDevicesEnrol(q: Queryable, federationId: string, now: Date): Promise<boolean> {
  const device = q
    .select({ id: devices.id })
    .from(devices)
    .where(eq(devices.federationId, federationId))
    .limit(1);
  const token = q
    .select({ id: enrollmentTokens.id })
    .from(enrollmentTokens)
    .where(
      and(
        eq(enrollmentTokens.federationId, federationId),
        isNull(enrollmentTokens.revokedAt),
        gt(enrollmentTokens.expiresAt, now),
        lt(enrollmentTokens.uses, enrollmentTokens.maxUses),
      ),
    )
    .limit(1);
  const [registered, usable] = await Promise.all([device, token]);
  return registered.length > 0 || usable.length > 0;
}

/** Forgets tokens that ended before and that no device has enrolled with, at most `limit`. */
export async function forgetEnrollmentTokens(q: Queryable, before: Date, limit: number): Promise<number> {
  const rows = await q.execute(sql`
    delete from ${enrollmentTokens} where ${enrollmentTokens.id} in (
      select id from ${enrollmentTokens} as token
      where token.expires_at < ${before.toISOString()}::timestamptz and token.uses = 0
      limit ${limit} for update skip locked
    ) and ${enrollmentTokens.uses} = 0 returning 1`);
  return rows.length;
}
