import { sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { assignments, devices, rounds, runs } from '../schema.ts';

/*
 * What the round clock has to look at. States are written out, so that the small indexes of what is not over serve
 * these queries however many rounds there have been.
 */

/**
 * `settle`   a collecting round that may have to close or to invite
 * `sum_up`   an evaluate round that is closed
 * `advance`  an active run that may have to open a round, or to end
 * `draw`     a round that waits for its cohort
 */
export interface Task {
  task: 'settle' | 'sum_up' | 'advance' | 'draw';
  /** Of the round, or of the run that is to advance. */
  id: string;
}

const open = sql`${rounds.state} in ('pending', 'collecting', 'aggregating')`;

function hasOpenRound(kind: 'train' | 'evaluate') {
  return sql`exists (select 1 from ${rounds} where ${rounds.runId} = ${runs.id}
    and ${rounds.kind} = ${kind} and ${open})`;
}

const hasRevoked = sql`exists (select 1 from ${assignments}
  join ${devices} on ${devices.id} = ${assignments.deviceId}
  where ${assignments.roundId} = ${rounds.id} and ${assignments.state} = 'open' and ${devices.state} = 'revoked')`;

/** Everything that may be due now; oldest first within each kind. */
export async function listTasks(q: Queryable, now: Date): Promise<Task[]> {
  return q.execute<Task & Record<string, unknown>>(sql`
    select 'settle' as task, ${rounds.id} from ${rounds}
      where ${rounds.state} = 'collecting' and (${rounds.deadlineAt} <= ${now.toISOString()}::timestamptz
        or ${rounds.openAssignments} = 0 or ${rounds.accepted} + ${rounds.openAssignments} < ${rounds.target}
        or ${hasRevoked})
    union all
    select 'sum_up', ${rounds.id} from ${rounds}
      where ${rounds.state} = 'aggregating' and ${rounds.kind} = 'evaluate'
    union all
    select 'advance', ${runs.id} from ${runs}
      where ${runs.state} = 'active' and (not ${hasOpenRound('train')}
        or (${runs.settings} -> 'evaluate' is not null and not ${hasOpenRound('evaluate')}))
    union all
    select 'draw', ${rounds.id} from ${rounds} where ${rounds.state} = 'pending'
    order by 1 desc, 2`);
}

/** The next instant at which a round is due, if any is. A run ends when its round has ended. */
export async function findNextDue(q: Queryable): Promise<Date | undefined> {
  const rows = await q.execute<{ due: string | null }>(sql`
    select min(due)::text as due from (
      select min(${rounds.pendingUntil}) as due from ${rounds} where ${rounds.state} = 'pending'
      union all
      select min(${rounds.deadlineAt}) from ${rounds} where ${rounds.state} = 'collecting'
    ) as instants`);
  const due = rows[0]?.due;
  return due ? new Date(due) : undefined;
}

/**
 * True if a round of this federation wants devices that it has not found: it waits for its quorum, or for replacements.
 */
export async function areDevicesWanted(q: Queryable, federationIds: readonly string[]): Promise<boolean> {
  const rows = await q.execute(sql`
    select 1 from ${rounds} where ${rounds.federationId} in ${federationIds} and (${rounds.state} = 'pending'
      or (${rounds.state} = 'collecting' and ${rounds.accepted} + ${rounds.openAssignments} < ${rounds.target}))
    limit 1`);
  return rows.length > 0;
}
