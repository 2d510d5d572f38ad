import { and, eq, getTableColumns, sql } from 'drizzle-orm';
import type { FailureReason, RoundState } from '../../domain/round.ts';
import type { Queryable } from '../database.ts';
import { channels, notify } from '../journal/channels.ts';
import { recordEvent } from '../journal/events.ts';
import { assignments, blobs, checkpoints, leases, models, rounds, runs, updates } from '../schema.ts';

/*
 * One order of locks, so that no transaction waits for another in a circle: run, round, lease, assignments, updates,
 * the rest. Who ends a round locks its run first; who settles an assignment, its round first; who writes as a folder,
 * its round (shared, intake goes on) and then its lease. Statements after a lock see what was committed before it was
 * granted; so nothing that decides is read in the statement that locks.
 */

export type RoundRow = typeof rounds.$inferSelect;
/** A run with the name of its model. */
export type RunRow = typeof runs.$inferSelect & { model: string };

const runFields = { ...getTableColumns(runs), model: models.name };

/** Locks the run of a round. Undefined: another transaction has it in hand (only with `skipLocked`). */
export async function lockRunOfRound(
  tx: Queryable,
  roundId: string,
  options: { skipLocked?: boolean } = {},
): Promise<RunRow | undefined> {
  const rows = await tx
    .select(runFields)
    .from(runs)
    .innerJoin(models, eq(models.id, runs.modelId))
    .innerJoin(rounds, eq(rounds.runId, runs.id))
    .where(eq(rounds.id, roundId))
    .for('update', options.skipLocked ? { of: runs, skipLocked: true } : { of: runs });
  return rows[0];
}

/** Locks an active run, unless another transaction has it in hand. */
export async function lockActiveRun(tx: Queryable, runId: string): Promise<RunRow | undefined> {
  const rows = await tx
    .select(runFields)
    .from(runs)
    .innerJoin(models, eq(models.id, runs.modelId))
    .where(and(eq(runs.id, runId), eq(runs.state, 'active')))
    .for('update', { of: runs, skipLocked: true });
  return rows[0];
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
  const { id, federationId, runId, kind, number } = round;
  // Who was still at work at the deadline dropped out; who was when the run was stopped did not.
  const dropped = reason === 'below_quorum' ? round.dropped + round.openAssignments : round.dropped;
  const closedAt = round.closedAt ?? now;
  // Sent at once, carried out in this order.
  await Promise.all([
    dropFold(tx, id),
    expireOpenAssignments(tx, id, now),
    tx
      .update(updates)
      .set({ state: 'expired', reason })
      .where(and(eq(updates.roundId, id), eq(updates.state, 'accepted'))),
    tx
      .update(rounds)
      .set({ state: 'failed', reason, openAssignments: 0, dropped, closedAt, endedAt: now })
      .where(eq(rounds.id, id)),
    retireUpdateBlobs(tx, id),
    kind === 'train' && countFailure(tx, runId),
    recordEvent(tx, {
      federationId,
      type: 'round.failed',
      subject: { run: runId, round: id, kind, number, reason },
      createdAt: now,
    }),
    notify(tx, channels.work),
    notify(tx, channels.events),
  ]);
}

async function countFailure(tx: Queryable, runId: string): Promise<void> {
  await tx
    .update(runs)
    .set({ failedInARow: sql`${runs.failedInARow} + 1` })
    .where(eq(runs.id, runId));
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
  await tx.execute(sql`
    with ended as (delete from ${leases} where ${leases.roundId} = ${roundId}),
         dropped as (delete from ${checkpoints} where ${checkpoints.roundId} = ${roundId}
                     returning ${checkpoints.blobKey} as key)
    update ${blobs} set state = 'dead' from dropped where ${blobs.key} = dropped.key`);
}
