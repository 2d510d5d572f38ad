import { sql } from 'drizzle-orm';
import type { Metrics } from '../../domain/metrics.ts';
import type { Database } from '../database.ts';
import { channels } from '../journal/channels.ts';
import { writeStatement } from '../prepared-statements.ts';
import { assignments, blobs, rounds, updates } from '../schema.ts';
import { type AcceptResult, isAcceptable, type Place, takePlaces } from './places.ts';

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
  with place as (${takePlaces({ roundId: given.round, count: given.count, now: given.now })}),
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
