import { and, eq, inArray, isNull, lte, or, sql } from 'drizzle-orm';
import { DROP_OUT_WINDOW } from '../domain/cohort.ts';
import type { RoundKind } from '../domain/round.ts';
import type { RunSettings } from '../domain/run.ts';
import type { Queryable } from './database.ts';
import { failLockedRound, lockRound, type RoundRow } from './round-locks.ts';
import { assignments, devices, models, rounds, runs } from './schema.ts';

export type RunRow = typeof runs.$inferSelect;

/** Fails what is open and not yet aggregating of a run that is being stopped, in the caller's transaction. */
export async function stopRounds(tx: Queryable, runId: string, now: Date): Promise<void> {
  const open = await tx
    .select({ id: rounds.id, state: rounds.state })
    .from(rounds)
    .where(and(eq(rounds.runId, runId), inArray(rounds.state, ['pending', 'collecting'])))
    .orderBy(rounds.id)
    .for('update');
  for (const { id, state } of open) {
    const round = await lockRound(tx, id, state);
    if (round) await failLockedRound(tx, round, 'run_stopped', now);
  }
}

/** Runs that may have to open a round, or to end. */
export function listActiveRuns(q: Queryable): Promise<{ id: string }[]> {
  return q.select({ id: runs.id }).from(runs).where(eq(runs.state, 'active')).orderBy(runs.id);
}

/** Locks an active run, unless another worker has it in hand. */
export async function lockActiveRun(tx: Queryable, runId: string): Promise<RunRow | undefined> {
  const rows = await tx
    .select()
    .from(runs)
    .where(and(eq(runs.id, runId), eq(runs.state, 'active')))
    .for('update', { skipLocked: true });
  return rows[0];
}

/** The run's rounds that are not over. */
export function listOpenRounds(q: Queryable, runId: string): Promise<{ kind: RoundKind }[]> {
  return q
    .select({ kind: rounds.kind })
    .from(rounds)
    .where(and(eq(rounds.runId, runId), inArray(rounds.state, ['pending', 'collecting', 'aggregating'])));
}

/** The model's head. */
export async function findHead(q: Queryable, modelId: string): Promise<number | null> {
  const rows = await q.select({ head: models.head }).from(models).where(eq(models.id, modelId));
  return rows[0]?.head ?? null;
}

/** True if the run has an evaluate round of this version already. */
export async function wasEvaluated(q: Queryable, runId: string, version: number): Promise<boolean> {
  const rows = await q
    .select({ id: rounds.id })
    .from(rounds)
    .where(and(eq(rounds.runId, runId), eq(rounds.kind, 'evaluate'), eq(rounds.baseVersion, version)))
    .limit(1);
  return rows.length > 0;
}

/** Rounds that wait for their cohort, oldest first. */
export function listPendingRounds(q: Queryable): Promise<{ id: string }[]> {
  return q.select({ id: rounds.id }).from(rounds).where(eq(rounds.state, 'pending')).orderBy(rounds.id);
}

/** Collecting rounds that may have to close or to invite: past the deadline, or with fewer assignments than they aim at. */
export function listUnsettledRounds(q: Queryable, now: Date): Promise<{ id: string }[]> {
  const short = sql`${rounds.accepted} + ${rounds.openAssignments} < ${rounds.target}`;
  return q
    .select({ id: rounds.id })
    .from(rounds)
    .where(
      and(
        eq(rounds.state, 'collecting'),
        or(lte(rounds.deadlineAt, now), eq(rounds.openAssignments, 0), short),
      ),
    )
    .orderBy(rounds.id);
}

/** Evaluate rounds that are closed and not yet summed up. */
export function listClosedEvaluations(q: Queryable): Promise<{ id: string }[]> {
  return q
    .select({ id: rounds.id })
    .from(rounds)
    .where(and(eq(rounds.state, 'aggregating'), eq(rounds.kind, 'evaluate')));
}

/** The next instant at which a round or a run is due, if any is. */
export async function findNextDue(q: Queryable): Promise<Date | undefined> {
  const rows = await q.execute<{ due: string | null }>(sql`
    select min(due)::text as due from (
      select min(${rounds.pendingUntil}) as due from ${rounds} where ${rounds.state} = 'pending'
      union all
      select min(${rounds.deadlineAt}) from ${rounds} where ${rounds.state} = 'collecting'
      union all
      select min(${runs.endAt}) from ${runs} where ${runs.state} = 'active'
    ) as instants`);
  const due = rows[0]?.due;
  return due ? new Date(due) : undefined;
}

/** How the run's last rounds went that had a cohort and are over. */
export function listRecentTurnout(q: Queryable, runId: string, kind: RoundKind) {
  return q
    .select({ invited: rounds.invited, accepted: rounds.accepted })
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
 * Devices that a round may invite: active, present, with the labels and properties that the run selects, with data for
 * the model, without an open assignment of that kind, and not in this round already.
 */
export async function findEligibleDevices(
  q: Queryable,
  round: RoundRow,
  run: { settings: RunSettings; model: string },
  now: Date,
): Promise<string[]> {
  const { selection, presenceMs } = run.settings;
  const property = (name: string) => sql`${devices.properties} -> ${name}`;
  const conditions = [
    eq(devices.federationId, round.federationId),
    eq(devices.state, 'active'),
    sql`${devices.lastSeenAt} > ${new Date(now.getTime() - presenceMs).toISOString()}::timestamptz`,
    sql`${devices.labels} @> ${JSON.stringify(selection.labels ?? {})}::jsonb`,
    or(isNull(property('models')), sql`${property('models')} ? ${run.model}`),
    sql`not exists (select 1 from ${assignments} where ${assignments.deviceId} = ${devices.id}
        and ((${assignments.state} = 'open' and ${assignments.kind} = ${round.kind}) or ${assignments.roundId} = ${round.id}))`,
  ];
  if (selection.minMemoryMb)
    conditions.push(sql`(${property('memoryMb')})::numeric >= ${selection.minMemoryMb}`);
  if (selection.minBattery) {
    conditions.push(
      sql`coalesce((${property('battery')})::numeric >= ${selection.minBattery} or ${property('charging')} = 'true', true)`,
    );
  }
  if (selection.chargingOnly) conditions.push(sql`coalesce(${property('charging')} = 'true', true)`);
  if (selection.unmeteredOnly) conditions.push(sql`coalesce(${property('metered')} = 'false', true)`);
  const rows = await q
    .select({ id: devices.id })
    .from(devices)
    .where(and(...conditions));
  return rows.map(({ id }) => id);
}

/** The run of a round, with its model's name. */
export async function findRunOfRound(q: Queryable, runId: string) {
  const rows = await q
    .select({ settings: runs.settings, model: models.name })
    .from(runs)
    .innerJoin(models, eq(models.id, runs.modelId))
    .where(eq(runs.id, runId));
  return rows[0]!;
}

/** Makes assignments; a device that got another one meanwhile is skipped. Returns how many were made. */
export async function insertAssignments(
  tx: Queryable,
  rows: (typeof assignments.$inferInsert)[],
): Promise<number> {
  if (rows.length === 0) return 0;
  const made = await tx
    .insert(assignments)
    .values(rows)
    .onConflictDoNothing()
    .returning({ id: assignments.id });
  return made.length;
}

export async function findRound(q: Queryable, roundId: string): Promise<RoundRow | undefined> {
  const rows = await q.select().from(rounds).where(eq(rounds.id, roundId));
  return rows[0];
}
