import { and, eq, sql } from 'drizzle-orm';
import type { Metrics } from '../../domain/metrics.ts';
import type { Queryable } from '../database.ts';
import { channels, notify } from '../journal/channels.ts';
import { recordEvent } from '../journal/events.ts';
import { modelVersions, rounds, runs } from '../schema.ts';
import { expireOpenAssignments, type RoundRow, type RunRow } from './round-locks.ts';

/** Tells watchers of a round, in the transaction that moved it. */
async function announce(tx: Queryable, type: string, round: RoundRow, now: Date, more = {}): Promise<void> {
  const { federationId, runId, id, kind, number } = round;
  const subject = { run: runId, round: id, kind, number, ...more };
  await recordEvent(tx, { federationId, type, subject, createdAt: now });
  await notify(tx, channels.events);
}

/** Opens the run's next round of that kind. The caller holds the run's lock. */
export async function insertRound(tx: Queryable, round: typeof rounds.$inferInsert): Promise<RoundRow> {
  const [row] = await tx.insert(rounds).values(round).returning();
  if (round.kind === 'train') {
    await tx.update(runs).set({ lastRound: round.number }).where(eq(runs.id, round.runId));
  }
  await announce(tx, 'round.opened', row!, round.openedAt);
  return row!;
}

/** A locked pending round has its cohort. */
export async function startCollecting(
  tx: Queryable,
  round: RoundRow,
  cohort: { target: number; invited: number; population: number; now: Date; deadlineAt: Date },
): Promise<void> {
  const { target, invited, population, now, deadlineAt } = cohort;
  await Promise.all([
    tx
      .update(rounds)
      .set({
        state: 'collecting',
        target,
        invited,
        openAssignments: invited,
        population,
        collectingAt: now,
        deadlineAt,
      })
      .where(eq(rounds.id, round.id)),
    notify(tx, channels.assignments),
    announce(tx, 'round.collecting', round, now, { invited }),
  ]);
}

/** A locked collecting round has invited more devices. */
export async function addInvited(tx: Queryable, round: RoundRow, made: number): Promise<void> {
  await tx
    .update(rounds)
    .set({
      invited: sql`${rounds.invited} + ${made}`,
      openAssignments: sql`${rounds.openAssignments} + ${made}`,
    })
    .where(eq(rounds.id, round.id));
  await notify(tx, channels.assignments);
}

/** A locked collecting round takes no more updates and has enough. Who is still at work has dropped out. */
export async function startAggregating(tx: Queryable, round: RoundRow, now: Date): Promise<void> {
  await expireOpenAssignments(tx, round.id, now);
  await tx
    .update(rounds)
    .set({
      state: 'aggregating',
      closedAt: now,
      dropped: round.dropped + round.openAssignments,
      openAssignments: 0,
    })
    .where(eq(rounds.id, round.id));
  await notify(tx, channels.work);
}

/** A locked evaluate round is summed up: its metrics stand at the round and at the version. */
export async function completeEvaluation(
  tx: Queryable,
  round: RoundRow,
  metrics: Metrics,
  now: Date,
): Promise<void> {
  await tx.update(rounds).set({ state: 'completed', metrics, endedAt: now }).where(eq(rounds.id, round.id));
  await tx
    .update(modelVersions)
    .set({ deviceScore: metrics })
    .where(and(eq(modelVersions.modelId, round.modelId), eq(modelVersions.version, round.baseVersion)));
  await notify(tx, channels.work);
  await announce(tx, 'round.completed', round, now, { version: round.baseVersion });
}

/** A locked active run is over. */
export async function endRun(
  tx: Queryable,
  run: RunRow,
  end: { state: 'completed' | 'failed'; reason: string },
  now: Date,
): Promise<void> {
  await tx
    .update(runs)
    .set({ ...end, endedAt: now })
    .where(eq(runs.id, run.id));
  await recordEvent(tx, {
    federationId: run.federationId,
    type: `run.${end.state}`,
    subject: { run: run.id, reason: end.reason },
    createdAt: now,
  });
  await notify(tx, channels.events);
}
