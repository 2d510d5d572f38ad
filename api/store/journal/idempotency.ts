import { and, eq, isNotNull, isNull, lt, lte, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { idempotencyKeys } from '../schema.ts';

/** One caller's key. */
export interface KeyName {
  federationId: string;
  principal: string;
  key: string;
}

export type KeyRow = typeof idempotencyKeys.$inferSelect;

const named = ({ federationId, principal, key }: KeyName) =>
  and(
    eq(idempotencyKeys.federationId, federationId),
    eq(idempotencyKeys.principal, principal),
    eq(idempotencyKeys.key, key),
  );

const held = (name: KeyName, claim: string) => and(named(name), eq(idempotencyKeys.claim, claim));

/**
 * Claims a key that nobody uses, or whose user has neither come to an effect nor answered since `staleBefore`.
 * One statement, so of any number of requests one gets it. False: somebody else has it.
 */
export async function claimKey(
  q: Queryable,
  name: KeyName,
  claim: { id: string; requestHash: string; now: Date; staleBefore: Date },
): Promise<boolean> {
  const rows = await q
    .insert(idempotencyKeys)
    .values({ ...name, claim: claim.id, requestHash: claim.requestHash, claimedAt: claim.now })
    .onConflictDoUpdate({
      target: [idempotencyKeys.federationId, idempotencyKeys.principal, idempotencyKeys.key],
      set: { claim: claim.id, claimedAt: claim.now },
      setWhere: and(
        isNull(idempotencyKeys.effectAt),
        isNull(idempotencyKeys.answer),
        lte(idempotencyKeys.claimedAt, claim.staleBefore),
        eq(idempotencyKeys.requestHash, claim.requestHash),
      )!,
    })
    .returning({ claim: idempotencyKeys.claim });
  return rows.length === 1;
}

export async function findKey(q: Queryable, name: KeyName): Promise<KeyRow | undefined> {
  const rows = await q.select().from(idempotencyKeys).where(named(name));
  return rows[0];
}

/** Notes in the effect's transaction that there is one. False: the claim was taken over, so it must not commit. */
export async function noteEffect(tx: Queryable, name: KeyName, claim: string, now: Date): Promise<boolean> {
  const rows = await tx
    .update(idempotencyKeys)
    .set({ effectAt: now })
    .where(held(name, claim))
    .returning({ claim: idempotencyKeys.claim });
  return rows.length === 1;
}

export async function keepAnswer(q: Queryable, name: KeyName, claim: string, answer: string): Promise<void> {
  await q.update(idempotencyKeys).set({ answer }).where(held(name, claim));
}

/** Frees the key of a request that was refused. If there was an effect nevertheless, the key stays, without an answer. */
export async function releaseKey(q: Queryable, name: KeyName, claim: string): Promise<void> {
  await q.delete(idempotencyKeys).where(and(held(name, claim), isNull(idempotencyKeys.effectAt)));
  await q
    .update(idempotencyKeys)
    .set({ answer: '' })
    .where(and(held(name, claim), isNotNull(idempotencyKeys.effectAt)));
}

/** Forgets keys that were claimed before `before`, at most 1,000 in one call; how many. */
export async function forgetKeys(q: Queryable, before: Date): Promise<number> {
  const old = q
    .select({ ctid: sql`ctid` })
    .from(idempotencyKeys)
    .where(lt(idempotencyKeys.claimedAt, before))
    .limit(1000);
  const rows = await q
    .delete(idempotencyKeys)
    .where(sql`ctid in ${old}`)
    .returning({ key: idempotencyKeys.key });
  return rows.length;
}
