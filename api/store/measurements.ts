import { count, eq, sql } from 'drizzle-orm';
import type { Queryable } from './database.ts';
import { isGone } from './models/sweeps.ts';
import {
  assignments,
  auditEntries,
  blobs,
  catalogs,
  checkpoints,
  devices,
  events,
  leases,
  releases,
  rounds,
} from './schema.ts';

/** Rounds by kind, state and reason. */
export function countRounds(q: Queryable) {
  return q
    .select({ kind: rounds.kind, state: rounds.state, reason: rounds.reason, rounds: count() })
    .from(rounds)
    .groupBy(rounds.kind, rounds.state, rounds.reason);
}

export function countDevices(q: Queryable) {
  return q.select({ state: devices.state, devices: count() }).from(devices).groupBy(devices.state);
}

export function countReleases(q: Queryable) {
  return q.select({ state: releases.state, releases: count() }).from(releases).groupBy(releases.state);
}

export function countOpenAssignments(q: Queryable) {
  return q
    .select({ kind: assignments.kind, assignments: count() })
    .from(assignments)
    .where(eq(assignments.state, 'open'))
    .groupBy(assignments.kind);
}

/** The connections of one process, by what they do. It sees those of its own user alone. */
export function countConnections(q: Queryable, applicationName: string) {
  return q.execute<{ state: string; connections: number }>(sql`
    select state, count(*)::int as connections from pg_stat_activity
    where datname = current_database() and application_name = ${applicationName} and state is not null
    group by state`);
}

/** The oldest things that are still to be done; null where there is none. */
export async function findBacklog(q: Queryable) {
  const [row] = await q.execute<{
    event: string | null;
    audit: string | null;
    lease: string | null;
    deadBlobs: number;
    pendingFolds: number;
    catalogFaults: number;
  }>(sql`
    select (select min(${events.createdAt}) from ${events} where ${events.position} is null) as event,
      (select min(${auditEntries.createdAt}) from ${auditEntries} where ${auditEntries.position} is null) as audit,
      (select min(${leases.expiresAt}) from ${leases}) as lease,
      (select count(*)::int from ${blobs} where ${isGone}) as "deadBlobs",
      (select coalesce(sum(${rounds.accepted} - coalesce(${checkpoints.sequence}, 0)), 0)::int
        from ${rounds} left join ${checkpoints} on ${checkpoints.roundId} = ${rounds.id}
        where ${rounds.kind} = 'train' and ${rounds.state} in ('collecting', 'aggregating')) as "pendingFolds",
      (select coalesce(sum(jsonb_array_length(${catalogs.faults})), 0)::int from ${catalogs}) as "catalogFaults"`);
  return row!;
}
