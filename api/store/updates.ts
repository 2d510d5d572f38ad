import { and, eq, gt, lt, sql } from 'drizzle-orm';
import type { Metrics } from '../domain/metrics.ts';
import type { RoundState } from '../domain/round.ts';
import type { Queryable } from './database.ts';
import { expireOpenAssignments } from './round-locks.ts';
import { assignments, blobs, evaluations, rounds, updates } from './schema.ts';

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

/** `refused`: the round or the assignment moved on; the caller rolls back and admits anew to learn why. */
export type AcceptResult = { sequence: number; roundState: RoundState; openAssignments: number } | 'refused';

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
        gt(rounds.deadlineAt, now),
      ),
    )
    .returning({ sequence: rounds.accepted, state: rounds.state, openAssignments: rounds.openAssignments });
  return rows[0];
}

async function acceptAssignment(tx: Queryable, assignmentId: string, now: Date): Promise<boolean> {
  const rows = await tx
    .update(assignments)
    .set({ state: 'accepted', settledAt: now })
    .where(and(eq(assignments.id, assignmentId), eq(assignments.state, 'open')))
    .returning({ id: assignments.id });
  return rows.length === 1;
}

/** Accepts a written update. The whole transaction of the acknowledgement, but for its commit. */
export async function acceptUpdate(tx: Queryable, update: AcceptedUpdate): Promise<AcceptResult> {
  const place = await takePlace(tx, update.roundId, update.receivedAt);
  if (!place || !(await acceptAssignment(tx, update.assignmentId, update.receivedAt))) return 'refused';
  const settled = await tx
    .update(blobs)
    .set({ state: 'live' })
    .where(and(eq(blobs.key, update.blobKey), eq(blobs.state, 'writing')))
    .returning({ key: blobs.key });
  if (settled.length === 0) return 'refused';
  await tx.insert(updates).values({ ...update, sequence: place.sequence, state: 'accepted' });
  if (place.state === 'aggregating') await expireOpenAssignments(tx, update.roundId, update.receivedAt);
  return { sequence: place.sequence, roundState: place.state, openAssignments: place.openAssignments };
}

/** Accepts the results of an evaluate assignment, by the same rules. */
export async function acceptEvaluation(
  tx: Queryable,
  evaluation: typeof evaluations.$inferInsert,
): Promise<AcceptResult> {
  const place = await takePlace(tx, evaluation.roundId, evaluation.receivedAt);
  if (!place || !(await acceptAssignment(tx, evaluation.assignmentId, evaluation.receivedAt)))
    return 'refused';
  await tx.insert(evaluations).values(evaluation);
  if (place.state === 'aggregating')
    await expireOpenAssignments(tx, evaluation.roundId, evaluation.receivedAt);
  return { sequence: place.sequence, roundState: place.state, openAssignments: place.openAssignments };
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
