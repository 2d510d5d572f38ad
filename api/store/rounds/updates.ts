import { and, eq, exists, gt, lt, sql } from 'drizzle-orm';
import type { Metrics } from '../../domain/metrics.ts';
import type { RoundState } from '../../domain/round.ts';
import type { Queryable } from '../database.ts';
import { channels, notify } from '../journal/channels.ts';
import { settleBlob } from '../models/blob-rows.ts';
import { assignments, devices, evaluations, rounds, updates } from '../schema.ts';
import { expireOpenAssignments } from './round-locks.ts';

export interface AcceptedUpdate {
  assignmentId: string;
  federationId: string;
  roundId: string;
  deviceId: string;
  digest: string;
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

/** `refused`: the round or the assignment moved on; the caller rolls back and admits anew to learn why. */
export type AcceptResult = { sequence: number; openAssignments: number } | 'refused';

/**
 * Counts one more result of a collecting round: the next sequence, the settled assignment and the round's state move
 * in one UPDATE that holds only below capacity and before the deadline. Two posters that race for the last place
 * serialise on the row; counting rows instead would let rounds get stuck.
 */
async function takePlace(tx: Queryable, roundId: string, now: Date) {
  const full = sql`${rounds.accepted} + 1 >= ${rounds.capacity}`;
  const answered = sql`(${rounds.openAssignments} = 1 and ${rounds.accepted} + 1 >= ${rounds.target})`;
  const closes = sql`(${full} or ${answered})`;
  const rows = await tx
    .update(rounds)
    .set({
      accepted: sql`${rounds.accepted} + 1`,
      openAssignments: sql`case when ${closes} then 0 else ${rounds.openAssignments} - 1 end`,
      state: sql`case when ${closes} then 'aggregating' else ${rounds.state} end`,
      closedAt: sql`case when ${closes} then ${now.toISOString()}::timestamptz else null end`,
    })
    .where(
      and(
        eq(rounds.id, roundId),
        eq(rounds.state, 'collecting'),
        lt(rounds.accepted, rounds.capacity),
        // Otherwise the caller's assignment is settled, too: it may have been given back a moment ago.
        gt(rounds.openAssignments, 0),
        gt(rounds.deadlineAt, now),
      ),
    )
    .returning({ sequence: rounds.accepted, state: rounds.state, openAssignments: rounds.openAssignments });
  return rows[0];
}

/** False: it is settled, or its device was revoked a moment ago. */
async function acceptAssignment(tx: Queryable, assignmentId: string, now: Date): Promise<boolean> {
  const active = tx
    .select({ id: devices.id })
    .from(devices)
    .where(and(eq(devices.id, assignments.deviceId), eq(devices.state, 'active')));
  const rows = await tx
    .update(assignments)
    .set({ state: 'accepted', settledAt: now })
    .where(and(eq(assignments.id, assignmentId), eq(assignments.state, 'open'), exists(active)))
    .returning({ id: assignments.id });
  return rows.length === 1;
}

/** Accepts a written update. The whole transaction of the acknowledgement, but for its commit. */
export async function acceptUpdate(tx: Queryable, update: AcceptedUpdate): Promise<AcceptResult> {
  const { roundId, assignmentId, receivedAt } = update;
  // Sent at once, carried out in this order: the round is locked first, for as short as can be.
  const [place, isAccepted, isLive] = await Promise.all([
    takePlace(tx, roundId, receivedAt),
    acceptAssignment(tx, assignmentId, receivedAt),
    settleBlob(tx, update.blobKey),
  ]);
  if (!place || !isAccepted || !isLive) return 'refused';
  const { sequence, openAssignments } = place;
  await Promise.all([
    tx.insert(updates).values({ ...update, sequence, state: 'accepted' }),
    finishIntake(tx, roundId, place, receivedAt),
  ]);
  return { sequence, openAssignments };
}

/** Accepts the results of an evaluate assignment, by the same rules. */
export async function acceptEvaluation(tx: Queryable, evaluation: NewEvaluation): Promise<AcceptResult> {
  const { roundId, assignmentId, receivedAt } = evaluation;
  const [place, isAccepted] = await Promise.all([
    takePlace(tx, roundId, receivedAt),
    acceptAssignment(tx, assignmentId, receivedAt),
  ]);
  if (!place || !isAccepted) return 'refused';
  const { sequence, openAssignments } = place;
  await Promise.all([
    tx.insert(evaluations).values(evaluation),
    finishIntake(tx, roundId, place, receivedAt),
  ]);
  return { sequence, openAssignments };
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
