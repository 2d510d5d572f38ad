import { sql } from 'drizzle-orm';
import type { Metrics } from '../../domain/metrics.ts';
import type { Database } from '../database.ts';
import { writeStatement } from '../prepared-statements.ts';
import type { AcceptResult } from './places.ts';

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

/** What `accept_updates` raises where an assignment, its device or a blob has moved on. */
const REFUSED = 'FE001';

const given = {
  round: sql.placeholder('round'),
  count: sql.placeholder('count'),
  now: sql.placeholder('now'),
  assignments: sql.placeholder('assignments'),
  blobs: sql.placeholder('blobs'),
  rows: sql.placeholder('rows'),
};

const acceptAll = writeStatement<Record<keyof typeof given, unknown>>(sql`
  select accept_updates(${given.round}::uuid, ${given.count}::int, ${given.now}::timestamptz,
    ${given.assignments}::uuid[], ${given.blobs}::text[], ${given.rows}::jsonb) as last`);

/**
 * Accepts written updates of one round, all or none, in their order: the whole transaction of the acknowledgement
 * (0001_acknowledgements.sql). The round is locked first, and workers are woken when it has filled or nobody is at work
 * any longer.
 */
export async function acceptUpdates(
  db: Pick<Database, 'run'>,
  roundId: string,
  accepted: readonly AcceptedUpdate[],
): Promise<AcceptResult> {
  const latest = Math.max(...accepted.map(({ receivedAt }) => receivedAt.getTime()));
  try {
    const [row] = await db.run(
      acceptAll({
        round: roundId,
        count: accepted.length,
        now: new Date(latest).toISOString(),
        assignments: `{${accepted.map(({ assignmentId }) => assignmentId).join(',')}}`,
        blobs: `{${accepted.map(({ blobKey }) => blobKey).join(',')}}`,
        rows: JSON.stringify(accepted.map((update, index) => ({ ...update, number: index + 1 }))),
      }),
    );
    const last = row!.last as number | null;
    return last === null ? 'refused' : { sequence: last - accepted.length + 1 };
  } catch (error) {
    if ((error as { code?: unknown }).code === REFUSED) return 'refused';
    throw error;
  }
}
