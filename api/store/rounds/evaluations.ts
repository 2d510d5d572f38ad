import { and, eq, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { channels, notify } from '../journal/channels.ts';
import { assignments, devices, evaluations } from '../schema.ts';
import { type AcceptResult, type Place, takePlace } from './places.ts';
import { expireOpenAssignments } from './round-locks.ts';

export type NewEvaluation = typeof evaluations.$inferInsert;

/** Is open, and its device was not revoked a moment ago: as `accept_updates` has it (0001_acknowledgements.sql). */
const isAcceptable = sql`${assignments.state} = 'open' and exists (select 1 from ${devices}
  where ${devices.id} = ${assignments.deviceId} and ${devices.state} = 'active')`;

/** Accepts the results of an evaluate assignment, by the same rules. `refused`: the caller rolls back. */
export async function acceptEvaluation(tx: Queryable, evaluation: NewEvaluation): Promise<AcceptResult> {
  const { roundId, assignmentId, receivedAt: now } = evaluation;
  // Sent at once, carried out in this order.
  const [[place], settled] = await Promise.all([
    tx.execute<Place>(takePlace(roundId, now)),
    tx
      .update(assignments)
      .set({ state: 'accepted', settledAt: now })
      .where(and(eq(assignments.id, assignmentId), isAcceptable))
      .returning({ id: assignments.id }),
  ]);
  if (!place || settled.length === 0) return 'refused';
  await Promise.all([tx.insert(evaluations).values(evaluation), finishIntake(tx, roundId, place, now)]);
  return { sequence: place.last };
}

/** Wakes the workers when the round has filled or nobody is at work any longer: never for every update. */
async function finishIntake(tx: Queryable, roundId: string, place: Place, now: Date): Promise<void> {
  if (place.open > 0) return;
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
