import { and, eq, inArray, sql } from 'drizzle-orm';
import type { Manifest } from '../domain/manifest.ts';
import type { Queryable } from './database.ts';
import { lockRound } from './round-locks.ts';
import { assignments, devices, models, modelVersions, rounds, runs, updates } from './schema.ts';

/** All that an assignment's document and its update's admission need. */
const assignmentFields = {
  id: assignments.id,
  deviceId: assignments.deviceId,
  kind: assignments.kind,
  state: assignments.state,
  createdAt: assignments.createdAt,
  roundId: rounds.id,
  roundNumber: rounds.number,
  roundState: rounds.state,
  accepted: rounds.accepted,
  capacity: rounds.capacity,
  deadlineAt: rounds.deadlineAt,
  baseVersion: rounds.baseVersion,
  seed: rounds.seed,
  runId: runs.id,
  settings: runs.settings,
  model: models.name,
  modelId: models.id,
  parameters: models.parameters,
  digest: modelVersions.digest,
  bytes: modelVersions.bytes,
} as const;

function selectAssignments(q: Queryable) {
  return q
    .select(assignmentFields)
    .from(assignments)
    .innerJoin(rounds, eq(rounds.id, assignments.roundId))
    .innerJoin(runs, eq(runs.id, rounds.runId))
    .innerJoin(models, eq(models.id, rounds.modelId))
    .innerJoin(
      modelVersions,
      and(eq(modelVersions.modelId, rounds.modelId), eq(modelVersions.version, rounds.baseVersion)),
    )
    .$dynamic();
}

export type AssignmentRow = Awaited<ReturnType<typeof selectAssignments>>[number];

/** The open assignments of these devices, each device's train assignment before its evaluate one. */
export function findOpenAssignments(q: Queryable, deviceIds: readonly string[]): Promise<AssignmentRow[]> {
  return selectAssignments(q)
    .where(and(inArray(assignments.deviceId, [...deviceIds]), eq(assignments.state, 'open')))
    .orderBy(sql`${assignments.kind} = 'evaluate'`);
}

/** One assignment of this device, whatever its state. */
export async function findAssignment(
  q: Queryable,
  federationId: string,
  deviceId: string,
  assignmentId: string,
): Promise<AssignmentRow | undefined> {
  const rows = await selectAssignments(q).where(
    and(
      eq(assignments.id, assignmentId),
      eq(assignments.deviceId, deviceId),
      eq(assignments.federationId, federationId),
    ),
  );
  return rows[0];
}

/** The manifest of a model: kept apart from the assignment, since a topology can be large. */
export async function findManifest(q: Queryable, modelId: string): Promise<Manifest> {
  const rows = await q.select({ manifest: models.manifest }).from(models).where(eq(models.id, modelId));
  return rows[0]!.manifest;
}

/** Which of these devices are still active. */
export async function filterActiveDevices(q: Queryable, deviceIds: readonly string[]): Promise<Set<string>> {
  const rows = await q
    .select({ id: devices.id })
    .from(devices)
    .where(and(inArray(devices.id, [...deviceIds]), eq(devices.state, 'active')));
  return new Set(rows.map(({ id }) => id));
}

/** True if a round waits for devices in this federation. */
export async function isRoundPending(q: Queryable, federationId: string): Promise<boolean> {
  const rows = await q
    .select({ id: rounds.id })
    .from(rounds)
    .where(and(eq(rounds.federationId, federationId), eq(rounds.state, 'pending')))
    .limit(1);
  return rows.length > 0;
}

/**
 * Settles an open assignment without a result. Locks its round first (see round-locks.ts). False: it was settled, or
 * its round closed, before.
 */
export async function settleAssignment(
  tx: Queryable,
  assignment: { id: string; roundId: string },
  outcome: { state: 'returned' | 'expired'; reason: string; now: Date },
): Promise<boolean> {
  const round = await lockRound(tx, assignment.roundId, 'collecting');
  if (!round) return false;
  const settled = await tx
    .update(assignments)
    .set({ state: outcome.state, reason: outcome.reason, settledAt: outcome.now })
    .where(and(eq(assignments.id, assignment.id), eq(assignments.state, 'open')))
    .returning({ id: assignments.id });
  if (settled.length === 0) return false;
  await tx
    .update(rounds)
    .set({ openAssignments: sql`${rounds.openAssignments} - 1` })
    .where(eq(rounds.id, round.id));
  return true;
}

/** Open assignments of collecting rounds whose device may not train any more. */
export function findForbiddenAssignments(q: Queryable): Promise<{ id: string; roundId: string }[]> {
  return q
    .select({ id: assignments.id, roundId: assignments.roundId })
    .from(assignments)
    .innerJoin(devices, eq(devices.id, assignments.deviceId))
    .innerJoin(rounds, eq(rounds.id, assignments.roundId))
    .where(and(eq(assignments.state, 'open'), eq(rounds.state, 'collecting'), eq(devices.state, 'revoked')))
    .limit(1000);
}

/** The digest of the update that an assignment has, if it has one. */
export async function findUpdate(q: Queryable, assignmentId: string) {
  const rows = await q.select().from(updates).where(eq(updates.assignmentId, assignmentId));
  return rows[0];
}
