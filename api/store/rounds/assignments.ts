import { and, eq, exists, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { assignments, devices, models, modelVersions, rounds, runs, updates } from '../schema.ts';
import { lockRound } from './round-locks.ts';

/** What all assignments of a round share. */
const roundFields = {
  kind: rounds.kind,
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

/** All that an assignment's document and its update's admission need. */
const assignmentFields = {
  ...roundFields,
  id: assignments.id,
  deviceId: assignments.deviceId,
  state: assignments.state,
  createdAt: assignments.createdAt,
  /** What was acknowledged for it. */
  update: { sequence: updates.sequence, digest: updates.digest, receivedAt: updates.receivedAt },
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
    .leftJoin(updates, eq(updates.assignmentId, assignments.id))
    .$dynamic();
}

export type AssignmentRow = Awaited<ReturnType<typeof selectAssignments>>[number];

/** What the document of an open assignment needs. */
export type OpenAssignment = Omit<AssignmentRow, 'state' | 'createdAt' | 'update'>;

/** What the admission of its update needs. */
export type AdmissibleAssignment = Omit<AssignmentRow, 'createdAt'>;

const UUID_LENGTH = 36;

/**
 * The open assignments of these devices, each device's train assignment before its evaluate one. A row for each round:
 * thousands of devices may have been invited to it at once.
 */
export async function findOpenAssignments(
  q: Queryable,
  deviceIds: readonly string[],
): Promise<OpenAssignment[]> {
  const open = q
    .select({
      roundId: assignments.roundId,
      ids: sql<string>`string_agg(${assignments.id}::text || ${assignments.deviceId}::text, '')`.as('ids'),
    })
    .from(assignments)
    .where(
      and(
        sql`${assignments.deviceId} = any(${`{${deviceIds.join(',')}}`}::uuid[])`,
        sql`${assignments.state} = 'open'`,
      ),
    )
    .groupBy(assignments.roundId)
    .as('open');
  const found = await q
    .select({ ids: open.ids, round: roundFields })
    .from(open)
    .innerJoin(rounds, eq(rounds.id, open.roundId))
    .innerJoin(runs, eq(runs.id, rounds.runId))
    .innerJoin(models, eq(models.id, rounds.modelId))
    .innerJoin(
      modelVersions,
      and(eq(modelVersions.modelId, rounds.modelId), eq(modelVersions.version, rounds.baseVersion)),
    )
    .orderBy(sql`${rounds.kind} = 'evaluate'`);
  return found.flatMap(({ ids, round }) => readPairs(ids).map((pair) => ({ ...round, ...pair })));
}

/** Ids of assignments and of their devices in turn, each of the same length. */
function readPairs(ids: string): { id: string; deviceId: string }[] {
  return Array.from({ length: ids.length / (2 * UUID_LENGTH) }, (_, index) => {
    const start = index * 2 * UUID_LENGTH;
    const middle = start + UUID_LENGTH;
    return { id: ids.slice(start, middle), deviceId: ids.slice(middle, middle + UUID_LENGTH) };
  });
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

/**
 * Gives an open assignment back. Locks its round first (see round-locks.ts). False: it was settled, or its round closed,
 * before.
 */
export async function giveBackAssignment(
  tx: Queryable,
  assignment: { id: string; roundId: string },
  { reason, now }: { reason: string; now: Date },
): Promise<boolean> {
  const round = await lockRound(tx, assignment.roundId, 'collecting');
  if (!round) return false;
  const settled = await tx
    .update(assignments)
    .set({ state: 'returned', reason, settledAt: now })
    .where(and(eq(assignments.id, assignment.id), eq(assignments.state, 'open')))
    .returning({ id: assignments.id });
  if (settled.length === 0) return false;
  await countDropped(tx, round.id, 1);
  return true;
}

/** Expires what revoked devices have open of a locked collecting round. Returns how many there were. */
export async function expireRevoked(tx: Queryable, roundId: string, now: Date): Promise<number> {
  const revoked = tx
    .select({ id: devices.id })
    .from(devices)
    .where(and(eq(devices.id, assignments.deviceId), eq(devices.state, 'revoked')));
  const expired = await tx
    .update(assignments)
    .set({ state: 'expired', reason: 'device_revoked', settledAt: now })
    .where(and(eq(assignments.roundId, roundId), eq(assignments.state, 'open'), exists(revoked)))
    .returning({ id: assignments.id });
  if (expired.length > 0) await countDropped(tx, roundId, expired.length);
  return expired.length;
}

async function countDropped(tx: Queryable, roundId: string, dropped: number): Promise<void> {
  await tx
    .update(rounds)
    .set({
      openAssignments: sql`${rounds.openAssignments} - ${dropped}`,
      dropped: sql`${rounds.dropped} + ${dropped}`,
    })
    .where(eq(rounds.id, roundId));
}
