import { and, eq, exists, gt, gte, inArray, lte, sql } from 'drizzle-orm';
import type { Metrics } from '../../domain/metrics.ts';
import type { RoundState } from '../../domain/round.ts';
import type { Queryable } from '../database.ts';
import { channels, notify } from '../journal/channels.ts';
import { settleBlobs } from '../models/blob-rows.ts';
import { assignments, devices, evaluations, rounds, updates } from '../schema.ts';
import { expireOpenAssignments } from './round-locks.ts';

export interface AcceptedUpdate {
  assignmentId: string;
  federationId: string;
  roundId: string;
  deviceId: string;
  digest: string;
  seal: string;
  bytes: number;
  blobKey: string;
  numExamples: number;
  weight: number;
  norm: number;
  scalars: Record<string, number>;
  metrics: Metrics;
  receivedAt: Date;
}

export type NewEvaluation = typeof evaluations.$inferInsert;

/**
 * The place of the first of the results in the round's sequence. `refused`: the round or an assignment moved on; the
 * caller rolls back and admits anew to learn why.
 */
export type AcceptResult = { sequence: number } | 'refused';

/**
 * Counts `results` more of a collecting round: the next sequences, the settled assignments and the round's state move in
 * one UPDATE that holds only up to capacity and before the deadline. Two posters that race for the last place serialise
 * on the row; counting rows instead would let rounds get stuck.
 */
async function takePlaces(tx: Queryable, roundId: string, results: number, now: Date) {
  const full = sql`${rounds.accepted} + ${results} >= ${rounds.capacity}`;
  const answered = sql`(${rounds.openAssignments} = ${results} and ${rounds.accepted} + ${results} >= ${rounds.target})`;
  const closes = sql`(${full} or ${answered})`;
  const rows = await tx
    .update(rounds)
    .set({
      accepted: sql`${rounds.accepted} + ${results}`,
      openAssignments: sql`case when ${closes} then 0 else ${rounds.openAssignments} - ${results} end`,
      state: sql`case when ${closes} then 'aggregating' else ${rounds.state} end`,
      closedAt: sql`case when ${closes} then ${now.toISOString()}::timestamptz else null end`,
    })
    .where(
      and(
        eq(rounds.id, roundId),
        eq(rounds.state, 'collecting'),
        lte(sql`${rounds.accepted} + ${results}`, rounds.capacity),
        // Otherwise an assignment of these is settled, too: it may have been given back a moment ago.
        gte(rounds.openAssignments, results),
        gt(rounds.deadlineAt, now),
      ),
    )
    .returning({ last: rounds.accepted, state: rounds.state, openAssignments: rounds.openAssignments });
  return rows[0];
}

/** False: one is settled, or its device was revoked a moment ago. */
async function acceptAssignments(tx: Queryable, ids: readonly string[], now: Date): Promise<boolean> {
  const active = tx
    .select({ id: devices.id })
    .from(devices)
    .where(and(eq(devices.id, assignments.deviceId), eq(devices.state, 'active')));
  const rows = await tx
    .update(assignments)
    .set({ state: 'accepted', settledAt: now })
    .where(and(inArray(assignments.id, [...ids]), eq(assignments.state, 'open'), exists(active)))
    .returning({ id: assignments.id });
  return rows.length === ids.length;
}

/**
 * Accepts written updates of one round, all or none, in their order. The whole transaction of the acknowledgement, but
 * for its commit.
 */
export async function acceptUpdates(
  tx: Queryable,
  roundId: string,
  accepted: readonly AcceptedUpdate[],
): Promise<AcceptResult> {
  const ids = accepted.map(({ assignmentId }) => assignmentId);
  const keys = accepted.map(({ blobKey }) => blobKey);
  const now = new Date(Math.max(...accepted.map(({ receivedAt }) => receivedAt.getTime())));
  const taking = takePlaces(tx, roundId, accepted.length, now);
  // Sent at once, carried out in this order: the round is locked first, for as short as can be. But where the round has
  // no places, it is not locked: who then locked several assignments could wait for another who closes the round.
  if (accepted.length > 1 && !(await taking)) return 'refused';
  const [place, areAccepted, areLive] = await Promise.all([
    taking,
    acceptAssignments(tx, ids, now),
    settleBlobs(tx, keys),
  ]);
  if (!place || !areAccepted || !areLive) return 'refused';
  const sequence = place.last - accepted.length + 1;
  const rows = accepted.map((update, index) => ({
    ...update,
    sequence: sequence + index,
    state: 'accepted' as const,
  }));
  await Promise.all([tx.insert(updates).values(rows), finishIntake(tx, roundId, place, now)]);
  return { sequence };
}

/** Accepts the results of an evaluate assignment, by the same rules. */
export async function acceptEvaluation(tx: Queryable, evaluation: NewEvaluation): Promise<AcceptResult> {
  const { roundId, assignmentId, receivedAt } = evaluation;
  const [place, isAccepted] = await Promise.all([
    takePlaces(tx, roundId, 1, receivedAt),
    acceptAssignments(tx, [assignmentId], receivedAt),
  ]);
  if (!place || !isAccepted) return 'refused';
  await Promise.all([
    tx.insert(evaluations).values(evaluation),
    finishIntake(tx, roundId, place, receivedAt),
  ]);
  return { sequence: place.last };
}

/** Wakes the workers when the round has filled or nobody is at work any longer: never for every update. */
async function finishIntake(
  tx: Queryable,
  roundId: string,
  place: { state: RoundState; openAssignments: number },
  now: Date,
): Promise<void> {
  if (place.openAssignments > 0) return;
  await Promise.all([
    place.state === 'aggregating' && expireOpenAssignments(tx, roundId, now),
    notify(tx, channels.work),
  ]);
}

/** The results that an evaluate assignment has, if it has them. */
export async function findEvaluation(q: Queryable, assignmentId: string) {
  const rows = await q.select().from(evaluations).where(eq(evaluations.assignmentId, assignmentId));
  return rows[0];
}

/** Everything that an evaluate round collected. */
export function listEvaluations(q: Queryable, roundId: string) {
  return q
    .select({ numExamples: evaluations.numExamples, metrics: evaluations.metrics })
    .from(evaluations)
    .where(eq(evaluations.roundId, roundId));
}
