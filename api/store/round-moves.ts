import { and, eq, sql } from 'drizzle-orm';
import type { Metrics } from '../domain/metrics.ts';
import { channels, notify } from './channels.ts';
import type { Queryable } from './database.ts';
import { recordEvent } from './events.ts';
import { expireOpenAssignments, type RoundRow } from './round-locks.ts';
import type { RunRow } from './rounds.ts';
import { modelVersions, rounds, runs } from './schema.ts';

/** Tells watchers of a round, in the transaction that moved it. */
async function announce(tx: Queryable, type: string, round: RoundRow, now: Date, more = {}): Promise<void> {
  const { federationId, runId, id, kind, number } = round;
  const subject = { run: runId, round: id, kind, number, ...more };
  await recordEvent(tx, { federationId, type, subject, createdAt: now });
  await notify(tx, channels.events);
}

/** Opens the run's next round of that kind. The caller holds the run's lock. */
export async function insertRound(tx: Queryable, round: typeof rounds.$inferInsert): Promise<void> {
  const [row] = await tx.insert(rounds).values(round).returning();
  if (round.kind === 'train') {
    await tx.update(runs).set({ lastRound: round.number }).where(eq(runs.id, round.runId));
  }
  await announce(tx, 'round.opened', row!, round.openedAt);
}

/** The number of the run's next evaluate round. */
export async function nextEvaluationNumber(tx: Queryable, runId: string): Promise<number> {
  const rows = await tx
    .select({ last: sql<number>`coalesce(max(${rounds.number}), 0)::int` })
    .from(rounds)
    .where(and(eq(rounds.runId, runId), eq(rounds.kind, 'evaluate')));
  return rows[0]!.last + 1;
}

/** A locked pending round has its cohort. */
export async function startCollecting(
  tx: Queryable,
  round: RoundRow,
  cohort: { target: number; invited: number; population: number; now: Date; deadlineAt: Date },
): Promise<void> {
  await tx
    .update(rounds)
    .set({
      state: 'collecting',
      target: cohort.target,
      invited: cohort.invited,
      openAssignments: cohort.invited,
      population: cohort.population,
      collectingAt: cohort.now,
      deadlineAt: cohort.deadlineAt,
    })
    .where(eq(rounds.id, round.id));
  await notify(tx, channels.assignments);
  await announce(tx, 'round.collecting', round, cohort.now, { invited: cohort.invited });
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

/** A locked collecting round takes no more updates and has enough. */
export async function startAggregating(tx: Queryable, round: RoundRow, now: Date): Promise<void> {
  await expireOpenAssignments(tx, round.id, now);
  await tx
    .update(rounds)
    .set({ state: 'aggregating', closedAt: now, openAssignments: 0 })
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
