import { and, eq, type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { Metrics } from '../../domain/metrics.ts';
import type { RoundState } from '../../domain/round.ts';
import type { Database, Queryable } from '../database.ts';
import { channels, notify } from '../journal/channels.ts';
import { writeStatement } from '../prepared-statements.ts';
import { assignments, blobs, devices, evaluations, rounds, updates } from '../schema.ts';
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

const DIVISION_BY_ZERO = '22012';

export type NewEvaluation = typeof evaluations.$inferInsert;

/** The place of the first of the results in the round's sequence. `refused`: the round or an assignment moved on. */
export type AcceptResult = { sequence: number } | 'refused';

/** What a statement is given when it is sent. */
type Given<T> = T | Placeholder;

interface Taking {
  roundId: Given<string>;
  /** How many. */
  results: Given<number>;
  /** ISO 8601. */
  now: Given<string>;
}

interface Place extends Record<string, unknown> {
  last: number;
  state: RoundState;
  open: number;
}

/**
 * Counts `results` more of a collecting round: the next sequences, the settled assignments and the round's state move in
 * one UPDATE that holds only up to capacity and before the deadline. Two posters that race for the last place serialise
 * on the row; counting rows instead would let rounds get stuck.
 */
function takePlaces({ roundId, results, now }: Taking): SQL {
  const count = sql`${results}::int`;
  const full = sql`accepted + ${count} >= capacity`;
  const answered = sql`(open_assignments = ${count} and accepted + ${count} >= target)`;
  const closes = sql`(${full} or ${answered})`;
  // Unless there are so many open assignments, one of these is settled, too: it may have been given back a moment ago.
  return sql`update ${rounds} set
      accepted = accepted + ${count},
      open_assignments = case when ${closes} then 0 else open_assignments - ${count} end,
      state = case when ${closes} then 'aggregating' else state end,
      closed_at = case when ${closes} then ${now}::timestamptz end
    where id = ${roundId}::uuid and state = 'collecting' and accepted + ${count} <= capacity
      and open_assignments >= ${count} and deadline_at > ${now}::timestamptz
    returning accepted as last, state, open_assignments as open`;
}

/** Those of a list that are open, and whose device was not revoked a moment ago. */
const isAcceptable = sql`${assignments.state} = 'open' and exists (select 1 from ${devices}
  where ${devices.id} = ${assignments.deviceId} and ${devices.state} = 'active')`;

const given = {
  round: sql.placeholder('round'),
  count: sql.placeholder('count'),
  now: sql.placeholder('now'),
  assignments: sql`${sql.placeholder('assignments')}::uuid[]`,
  blobs: sql`${sql.placeholder('blobs')}::text[]`,
  rows: sql`${sql.placeholder('rows')}::jsonb`,
};

const lockCollecting = writeStatement<{ round: string }>(sql`
  select 1 from ${rounds} where id = ${given.round}::uuid and state = 'collecting' for no key update`);

/*
 * Each part reads `place`, so that nothing else is locked before there is one. Where not all of them are as they have to
 * be, the division fails and with it the whole.
 */
const acceptAll = writeStatement<Record<keyof typeof given, unknown>>(sql`
  with place as (${takePlaces({ roundId: given.round, results: given.count, now: given.now })}),
  settled as (
    update ${assignments} set state = 'accepted', settled_at = ${given.now}::timestamptz from place
    where ${assignments.id} = any(${given.assignments}) and ${isAcceptable} returning 1),
  alive as (
    update ${blobs} set state = 'live' from place
    where ${blobs.key} = any(${given.blobs}) and ${blobs.state} = 'writing' returning 1),
  expired as (
    update ${assignments} set state = 'expired', reason = 'round_closed', settled_at = ${given.now}::timestamptz
    from place where place.state = 'aggregating' and ${assignments.roundId} = ${given.round}::uuid
      and ${assignments.state} = 'open' and ${assignments.id} <> all(${given.assignments})),
  kept as (
    insert into ${updates} (assignment_id, federation_id, round_id, device_id, sequence, state, digest, seal,
      bytes, blob_key, num_examples, weight, norm, scalars, metrics, received_at)
    select "assignmentId", "federationId", "roundId", "deviceId", place.last - ${given.count}::int + number,
      'accepted', digest, seal, bytes, "blobKey", "numExamples", weight, norm, scalars, metrics, "receivedAt"
    from place, jsonb_to_recordset(${given.rows}) as accepted ("assignmentId" uuid, "federationId" text,
      "roundId" uuid, "deviceId" uuid, number int, digest text, seal text, bytes bigint, "blobKey" text,
      "numExamples" bigint, weight float8, norm float8, scalars jsonb, metrics jsonb, "receivedAt" timestamptz))
  select last,
    1 / (case when (select count(*) from settled) = ${given.count}::int
      and (select count(*) from alive) = ${given.count}::int then 1 else 0 end) as whole,
    case when open = 0 then pg_notify(${channels.work}, '') end as woken
  from place`);

/**
 * Accepts written updates of one round, all or none, in their order: the whole transaction of the acknowledgement. The
 * round is locked first; the statement that decides then sees what was committed before that. Workers are woken when the
 * round has filled or nobody is at work any longer: never for every update.
 */
export async function acceptUpdates(
  db: Pick<Database, 'runTogether'>,
  roundId: string,
  accepted: readonly AcceptedUpdate[],
): Promise<AcceptResult> {
  const latest = Math.max(...accepted.map(({ receivedAt }) => receivedAt.getTime()));
  try {
    const [place] = await db.runTogether([
      lockCollecting({ round: roundId }),
      acceptAll({
        round: roundId,
        count: accepted.length,
        now: new Date(latest).toISOString(),
        assignments: `{${accepted.map(({ assignmentId }) => assignmentId).join(',')}}`,
        blobs: `{${accepted.map(({ blobKey }) => blobKey).join(',')}}`,
        rows: JSON.stringify(accepted.map((update, index) => ({ ...update, number: index + 1 }))),
      }),
    ]);
    return place ? { sequence: (place as Place).last - accepted.length + 1 } : 'refused';
  } catch (error) {
    if ((error as { code?: unknown }).code === DIVISION_BY_ZERO) return 'refused';
    throw error;
  }
}

/** Accepts the results of an evaluate assignment, by the same rules. `refused`: the caller rolls back. */
export async function acceptEvaluation(tx: Queryable, evaluation: NewEvaluation): Promise<AcceptResult> {
  const { roundId, assignmentId, receivedAt: now } = evaluation;
  // Sent at once, carried out in this order.
  const [[place], settled] = await Promise.all([
    tx.execute<Place>(takePlaces({ roundId, results: 1, now: now.toISOString() })),
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
