import { and, eq, gt, lte, sql } from 'drizzle-orm';
import type { RoundState } from '../../domain/round.ts';
import type { RunSettings } from '../../domain/run.ts';
import type { Queryable } from '../database.ts';
import { blobs, checkpoints, leases, rounds, runs, updates } from '../schema.ts';

/** A train round that takes updates or has still to be folded and published. */
export interface FoldableRound {
  id: string;
  state: RoundState;
  accepted: number;
  modelId: string;
  settings: RunSettings;
  /** Null: nobody has taken it yet. */
  lease: { holder: string; fence: number; expiresAt: Date } | null;
}

export function listFoldableRounds(q: Queryable): Promise<FoldableRound[]> {
  return q
    .select({
      id: rounds.id,
      state: rounds.state,
      accepted: rounds.accepted,
      modelId: rounds.modelId,
      settings: runs.settings,
      lease: { holder: leases.holder, fence: leases.fence, expiresAt: leases.expiresAt },
    })
    .from(rounds)
    .innerJoin(runs, eq(runs.id, rounds.runId))
    .leftJoin(leases, eq(leases.roundId, rounds.id))
    .where(sql`${rounds.state} in ('collecting', 'aggregating') and ${rounds.kind} = 'train'`)
    .orderBy(rounds.id);
}

/**
 * Takes the lease of a round that nobody holds, whose holder let it run out, or that this holder had. The fence grows
 * with every taking. Undefined: somebody else holds it, or the round is over. The round is locked, shared, so that no
 * lease is left on a round that is just ending.
 */
export async function takeLease(
  q: Queryable,
  roundId: string,
  lease: { holder: string; now: Date; leaseMs: number },
): Promise<number | undefined> {
  const now = lease.now.toISOString();
  const expiresAt = new Date(lease.now.getTime() + lease.leaseMs).toISOString();
  const rows = await q.execute<{ fence: string }>(sql`
    insert into ${leases} (round_id, holder, fence, expires_at)
    select ${rounds.id}, ${lease.holder}, 1, ${expiresAt}::timestamptz from ${rounds}
    where ${rounds.id} = ${roundId} and ${rounds.state} in ('collecting', 'aggregating')
    for key share
    on conflict (round_id) do update
      set holder = excluded.holder, fence = ${leases.fence} + 1, expires_at = excluded.expires_at
      where ${leases.expiresAt} <= ${now}::timestamptz or ${leases.holder} = excluded.holder
    returning fence`);
  return rows[0] && Number(rows[0].fence);
}

/** Extends a lease that is still held by this fence. False: it is lost. */
export async function renewLease(
  q: Queryable,
  roundId: string,
  fence: number,
  expiresAt: Date,
): Promise<boolean> {
  const rows = await q
    .update(leases)
    .set({ expiresAt })
    .where(and(eq(leases.roundId, roundId), eq(leases.fence, fence)))
    .returning({ roundId: leases.roundId });
  return rows.length === 1;
}

/** Gives a lease up, so that another worker need not wait until it runs out. */
export async function releaseLease(q: Queryable, roundId: string, fence: number, now: Date): Promise<void> {
  await q
    .update(leases)
    .set({ expiresAt: now })
    .where(and(eq(leases.roundId, roundId), eq(leases.fence, fence)));
}

/** Locks the lease for the caller's transaction. False: a later fence holds the round; nothing may be written. */
export async function lockLease(tx: Queryable, roundId: string, fence: number): Promise<boolean> {
  const rows = await tx
    .select({ fence: leases.fence })
    .from(leases)
    .where(and(eq(leases.roundId, roundId), eq(leases.fence, fence)))
    .for('update');
  return rows.length === 1;
}

/**
 * Locks what a folder writes under: its round, shared, so that nobody ends it and intake goes on, then its lease. False:
 * the round is over or a later fence holds it; nothing may be written.
 */
export async function lockFold(tx: Queryable, roundId: string, fence: number): Promise<boolean> {
  const [held, isHolder] = await Promise.all([
    tx.select({ id: rounds.id }).from(rounds).where(eq(rounds.id, roundId)).for('key share'),
    lockLease(tx, roundId, fence),
  ]);
  return held.length === 1 && isHolder;
}

export async function findCheckpoint(q: Queryable, roundId: string) {
  const rows = await q.select().from(checkpoints).where(eq(checkpoints.roundId, roundId));
  return rows[0];
}

/** Replaces the round's checkpoint by a written one. The caller holds the fold's locks. */
export async function replaceCheckpoint(
  tx: Queryable,
  checkpoint: typeof checkpoints.$inferInsert,
): Promise<void> {
  await discardCheckpoint(tx, checkpoint.roundId);
  await tx.insert(checkpoints).values(checkpoint);
}

/** Forgets the round's checkpoint; its blob goes to the sweeper. The caller holds the fold's locks. */
export async function discardCheckpoint(tx: Queryable, roundId: string): Promise<void> {
  await tx.execute(sql`
    with dropped as (delete from ${checkpoints} where ${checkpoints.roundId} = ${roundId}
                     returning ${checkpoints.blobKey} as key)
    update ${blobs} set state = 'dead' from dropped where ${blobs.key} = dropped.key`);
}

export type FoldableUpdate = Pick<
  typeof updates.$inferSelect,
  'roundId' | 'assignmentId' | 'sequence' | 'state' | 'seal' | 'bytes' | 'blobKey' | 'weight'
>;

/**
 * The next updates of all these rounds at once: of each in sequence order, from after the one that it has folded, at
 * most `limit`.
 */
export function listNewUpdates(
  q: Queryable,
  folded: readonly { roundId: string; sequence: number }[],
  limit: number,
): Promise<FoldableUpdate[]> {
  const roundIds = `{${folded.map(({ roundId }) => roundId).join(',')}}`;
  const sequences = `{${folded.map(({ sequence }) => sequence).join(',')}}`;
  const at = sql`unnest(${roundIds}::uuid[], ${sequences}::int[]) as at(round_id, sequence)`;
  const from = sql<number>`at.sequence`;
  return q
    .select({
      roundId: updates.roundId,
      assignmentId: updates.assignmentId,
      sequence: updates.sequence,
      state: updates.state,
      seal: updates.seal,
      bytes: updates.bytes,
      blobKey: updates.blobKey,
      weight: updates.weight,
    })
    .from(updates)
    .innerJoin(
      at,
      and(
        eq(updates.roundId, sql`at.round_id`),
        gt(updates.sequence, from),
        lte(updates.sequence, sql`at.sequence + ${limit}`),
      ),
    )
    .orderBy(updates.roundId, updates.sequence);
}

/** Rejects an update whose bytes are not what was acknowledged. The caller holds the fold's locks. */
export async function rejectUpdate(tx: Queryable, assignmentId: string, reason: string): Promise<void> {
  await tx
    .update(updates)
    .set({ state: 'rejected', reason })
    .where(and(eq(updates.assignmentId, assignmentId), eq(updates.state, 'accepted')));
}
