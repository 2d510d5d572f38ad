import { and, eq, inArray, sql } from 'drizzle-orm';
import { DROP_OUT_WINDOW } from '../../domain/cohort.ts';
import type { RoundKind } from '../../domain/round.ts';
import type { Queryable } from '../database.ts';
import { assignments, models, rounds } from '../schema.ts';
import { failLockedRound, lockRound, type RoundRow, type RunRow } from './round-locks.ts';

/** Fails what is open and not yet aggregating of a run that is being stopped. The caller holds the run's lock. */
export async function stopRounds(tx: Queryable, runId: string, now: Date): Promise<void> {
  const open = await tx
    .select({ id: rounds.id, state: rounds.state })
    .from(rounds)
    .where(and(eq(rounds.runId, runId), inArray(rounds.state, ['pending', 'collecting'])))
    .orderBy(rounds.id);
  for (const { id, state } of open) {
    const round = await lockRound(tx, id, state);
    if (round) await failLockedRound(tx, round, 'run_stopped', now);
  }
}

/** What of a locked run decides what it does next. */
export interface RunSituation {
  head: number | null;
  isTraining: boolean;
  isEvaluating: boolean;
}

export async function findSituation(tx: Queryable, run: RunRow): Promise<RunSituation> {
  const open = tx
    .select({ kind: rounds.kind })
    .from(rounds)
    .where(and(eq(rounds.runId, run.id), sql`${rounds.state} in ('pending', 'collecting', 'aggregating')`));
  const [kinds, [model]] = await Promise.all([
    open,
    tx.select({ head: models.head }).from(models).where(eq(models.id, run.modelId)),
  ]);
  return {
    head: model?.head ?? null,
    isTraining: kinds.some(({ kind }) => kind === 'train'),
    isEvaluating: kinds.some(({ kind }) => kind === 'evaluate'),
  };
}

/** The version that a run published last, and its last evaluate round. Undefined: it has published none, or none. */
export async function findEvaluationProgress(tx: Queryable, runId: string) {
  const lastOf = (kind: RoundKind) =>
    tx
      .select({ version: rounds.version, baseVersion: rounds.baseVersion, number: rounds.number })
      .from(rounds)
      .where(
        and(
          eq(rounds.runId, runId),
          eq(rounds.kind, kind),
          kind === 'train' ? eq(rounds.state, 'completed') : undefined,
        ),
      )
      .orderBy(sql`${rounds.number} desc`)
      .limit(1);
  const [[trained], [evaluated]] = await Promise.all([lastOf('train'), lastOf('evaluate')]);
  return { published: trained?.version ?? undefined, evaluated };
}

/** How the run's last rounds of that kind went that had a cohort and are over. */
export function listRecentTurnout(q: Queryable, runId: string, kind: RoundKind) {
  return q
    .select({ accepted: rounds.accepted, dropped: rounds.dropped })
    .from(rounds)
    .where(
      and(
        eq(rounds.runId, runId),
        eq(rounds.kind, kind),
        inArray(rounds.state, ['completed', 'failed']),
        sql`${rounds.invited} > 0`,
      ),
    )
    .orderBy(sql`${rounds.number} desc`)
    .limit(DROP_OUT_WINDOW);
}

/**
 * Makes open assignments of a locked round, in the order given; a device that got another one of that kind meanwhile is
 * skipped. Returns how many were made.
 */
export async function insertAssignments(
  tx: Queryable,
  round: RoundRow,
  invited: readonly { id: string; deviceId: string }[],
  now: Date,
): Promise<number> {
  if (invited.length === 0) return 0;
  const ids = `{${invited.map(({ id }) => id).join(',')}}`;
  const deviceIds = `{${invited.map(({ deviceId }) => deviceId).join(',')}}`;
  const [counted] = await tx.execute<{ made: number }>(sql`
    with inserted as (insert into ${assignments} (id, federation_id, round_id, device_id, kind, state, created_at)
    select made.id, ${round.federationId}, ${round.id}, made.device_id, ${round.kind}, 'open',
      ${now.toISOString()}::timestamptz
    from unnest(${ids}::uuid[], ${deviceIds}::uuid[]) with ordinality as made(id, device_id, place)
    order by made.place
    on conflict do nothing returning 1)
    select count(*)::int as made from inserted`);
  return counted!.made;
}

/** Takes back what was just invited to a round that has still to wait: nobody has seen it. */
export async function deleteAssignments(tx: Queryable, roundId: string): Promise<void> {
  await tx.delete(assignments).where(eq(assignments.roundId, roundId));
}

/** True while a train round of the model may still publish: also one of a run that was stopped. */
export async function hasOpenTrainRound(q: Queryable, modelId: string): Promise<boolean> {
  const rows = await q
    .select({ id: rounds.id })
    .from(rounds)
    .where(
      and(
        eq(rounds.modelId, modelId),
        eq(rounds.kind, 'train'),
        sql`${rounds.state} in ('pending', 'collecting', 'aggregating')`,
      ),
    )
    .limit(1);
  return rows.length > 0;
}

export async function findRound(q: Queryable, roundId: string): Promise<RoundRow | undefined> {
  const rows = await q.select().from(rounds).where(eq(rounds.id, roundId));
  return rows[0];
}
