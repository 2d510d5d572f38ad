import { and, eq, sql } from 'drizzle-orm';
import type { FailureReason, RoundState } from '../domain/round.ts';
import { channels, notify } from './channels.ts';
import type { Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import { assignments, blobs, checkpoints, leases, rounds, runs, updates } from './schema.ts';

/*
 * One order of locks, so that no transaction waits for another in a circle: run, round, assignments, the rest. A
 * transaction that ends a round locks its run first; one that settles an assignment locks its round first. Statements
 * after the lock see what the transactions before it committed.
 */

export type RoundRow = typeof rounds.$inferSelect;

/** Locks the run of a round. Undefined: another worker has it in hand (only with `skipLocked`). */
export async function lockRunOfRound(
  tx: Queryable,
  roundId: string,
  options: { skipLocked?: boolean } = {},
): Promise<typeof runs.$inferSelect | undefined> {
  const rows = await tx
    .select({ run: runs })
    .from(runs)
    .innerJoin(rounds, eq(rounds.runId, runs.id))
    .where(eq(rounds.id, roundId))
    .for('update', options.skipLocked ? { of: runs, skipLocked: true } : { of: runs });
  return rows[0]?.run;
}

/** Locks a round that is in `state`. Undefined: it has moved on. */
export async function lockRound(
  tx: Queryable,
  roundId: string,
  state: RoundState,
): Promise<RoundRow | undefined> {
  const rows = await tx
    .select()
    .from(rounds)
    .where(and(eq(rounds.id, roundId), eq(rounds.state, state)))
    .for('update');
  return rows[0];
}

/** Expires what is open of a round that leaves `collecting`. The caller holds its lock. */
export async function expireOpenAssignments(tx: Queryable, roundId: string, now: Date): Promise<void> {
  await tx
    .update(assignments)
    .set({ state: 'expired', reason: 'round_closed', settledAt: now })
    .where(and(eq(assignments.roundId, roundId), eq(assignments.state, 'open')));
}

/** Fails a round that is locked, and its run: its accepted updates expire, their bytes go to the sweeper. */
export async function failLockedRound(
  tx: Queryable,
  round: RoundRow,
  reason: FailureReason,
  now: Date,
): Promise<void> {
  await expireOpenAssignments(tx, round.id, now);
  await tx
    .update(rounds)
    .set({ state: 'failed', reason, openAssignments: 0, closedAt: round.closedAt ?? now, endedAt: now })
    .where(eq(rounds.id, round.id));
  await tx
    .update(updates)
    .set({ state: 'expired', reason })
    .where(and(eq(updates.roundId, round.id), eq(updates.state, 'accepted')));
  await retireUpdateBlobs(tx, round.id);
  await dropFold(tx, round.id);
  if (round.kind === 'train') {
    await tx
      .update(runs)
      .set({ failedInARow: sql`${runs.failedInARow} + 1` })
      .where(eq(runs.id, round.runId));
  }
  await recordEvent(tx, {
    federationId: round.federationId,
    type: 'round.failed',
    subject: { run: round.runId, round: round.id, kind: round.kind, number: round.number, reason },
    createdAt: now,
  });
  await notify(tx, channels.work);
  await notify(tx, channels.events);
}

/** Gives the files of a round's updates to the sweeper. */
export async function retireUpdateBlobs(tx: Queryable, roundId: string): Promise<void> {
  await tx
    .update(blobs)
    .set({ state: 'dead' })
    .where(
      sql`${blobs.key} in (select ${updates.blobKey} from ${updates} where ${updates.roundId} = ${roundId})`,
    );
}

/** Ends the fold of a round: no lease, no checkpoint. */
export async function dropFold(tx: Queryable, roundId: string): Promise<void> {
  await tx.delete(leases).where(eq(leases.roundId, roundId));
  const [checkpoint] = await tx.delete(checkpoints).where(eq(checkpoints.roundId, roundId)).returning();
  if (checkpoint) await tx.update(blobs).set({ state: 'dead' }).where(eq(blobs.key, checkpoint.blobKey));
}
