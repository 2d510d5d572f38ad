import type { Deps } from '../deps.ts';
import { FedEdgeError } from '../domain/errors.ts';
import type { Principal } from '../domain/role.ts';
import { admit } from '../domain/round.ts';
import { findStrategy } from '../domain/strategies/index.ts';
import { maxUpdateBytes, planUpdate, type UpdatePlan } from '../domain/update.ts';
import { type AssignmentRow, findAssignment, findManifest, findUpdate } from '../store/assignments.ts';
import { reserveBlob, retireBlobs } from '../store/blob-rows.ts';
import { channels, notify } from '../store/channels.ts';
import { newId } from '../store/ids.ts';
import { type AcceptedUpdate, acceptUpdate } from '../store/updates.ts';
import { receiveTensors } from './tensor-intake.ts';

type DevicePrincipal = Extract<Principal, { kind: 'device' }>;

/** A body that was declared and not yet read. */
export interface DeclaredBody {
  bytes: number;
  /** SHA-256, hex. */
  digest: string;
  body(): AsyncIterable<Uint8Array>;
}

/** The acknowledgement of an update: it counts. `duplicate`: it had been acknowledged before, with the same receipt. */
export interface Receipt {
  status: 'accepted' | 'duplicate';
  assignment: string;
  round: string;
  sequence: number;
  digest: string;
  receivedAt: Date;
}

/**
 * Takes a device's update. Nothing of the body is read unless the update is admitted; it is acknowledged after its
 * bytes are durable and its row is committed. Throws `late`, `full`, `not_in_cohort`, `update_conflict` (the
 * assignment is settled or never was), `malformed`, `digest_mismatch`, `body_incomplete` (it stays open).
 */
export async function submitUpdate(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
  declared: DeclaredBody,
): Promise<Receipt> {
  const assignment = await requireAssignment(deps, device, assignmentId);
  const receipt = await admitUpdate(deps, assignment, declared);
  if (receipt) return receipt;
  const update = await receiveUpdate(deps, device, assignment, declared);
  return acknowledge(deps, device, assignment, update);
}

/**
 * Admission, before a byte is read. Returns the first receipt if the same update was acknowledged before, undefined if
 * the update is welcome.
 */
export async function admitUpdate(
  deps: Deps,
  assignment: AssignmentRow,
  declared: { bytes: number; digest: string },
): Promise<Receipt | undefined> {
  if (assignment.kind !== 'train') throw new FedEdgeError('not_in_cohort', { kind: assignment.kind });
  const recorded = await findUpdate(deps.db.pool, assignment.id);
  const admission = admit(
    {
      digest: declared.digest,
      recordedDigest: recorded?.digest,
      assignment: assignment.state,
      round: {
        state: assignment.roundState,
        accepted: assignment.accepted,
        capacity: assignment.capacity,
        deadlineAt: assignment.deadlineAt,
      },
    },
    deps.clock.now(),
  );
  if (admission === 'duplicate') return toReceipt('duplicate', recorded!);
  if (admission !== 'admitted') throw new FedEdgeError(admission, { round: assignment.roundId });
  const maxBytes = Math.min(maxUpdateBytes(assignment.parameters), deps.config.maxUpdateBytes);
  if (declared.bytes > maxBytes) throw new FedEdgeError('too_large', { maxBytes });
  return undefined;
}

/** The device's own assignment, whatever its state. */
export async function requireAssignment(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
): Promise<AssignmentRow> {
  const assignment = await findAssignment(deps.db.pool, device.federationId, device.id, assignmentId);
  if (!assignment) throw new FedEdgeError('not_found');
  return assignment;
}

/** Streams the file into a blob of its own and checks everything that the bytes alone can tell. */
async function receiveUpdate(
  deps: Deps,
  device: DevicePrincipal,
  assignment: AssignmentRow,
  { bytes, digest, body }: DeclaredBody,
): Promise<AcceptedUpdate> {
  const { pool } = deps.db;
  const manifest = await findManifest(pool, assignment.modelId);
  const strategy = findStrategy(assignment.settings.strategy.name)!;
  const parameters = parseParameters(assignment);
  const { scalars } = strategy.wire(manifest, parameters);
  const startedAt = deps.clock.now();
  const blobKey = `update/${newId(startedAt)}`;
  await reserveBlob(pool, blobKey, startedAt);
  let plan: UpdatePlan | undefined;
  try {
    const { norm } = await receiveTensors(deps, {
      key: blobKey,
      body: body(),
      bytes,
      digest,
      plan: (header) => {
        const result = planUpdate(header, manifest, scalars);
        if (!result.ok) return result;
        plan = result.plan;
        return { ok: true, segments: plan.segments };
      },
    });
    const { numExamples, metrics, scalars: given } = plan!;
    const weight = strategy.weigh(parameters, { numExamples, norm, staleness: 0, scalars: given });
    const owner = { assignmentId: assignment.id, federationId: device.federationId, deviceId: device.id };
    const facts = { roundId: assignment.roundId, digest, bytes, blobKey, numExamples, weight, norm };
    return { ...owner, ...facts, scalars: given, metrics, receivedAt: startedAt };
  } catch (error) {
    await retireBlobs(pool, [blobKey]).catch(() => undefined);
    throw error;
  }
}

/** ONE transaction; after its commit the update counts, whatever happens to the answer. */
async function acknowledge(
  deps: Deps,
  device: DevicePrincipal,
  assignment: AssignmentRow,
  received: AcceptedUpdate,
): Promise<Receipt> {
  const update = { ...received, receivedAt: deps.clock.now() };
  await deps.failpoint('update.before_commit');
  const sequence = await deps.db
    .transaction(async (tx) => {
      const accepted = await acceptUpdate(tx, update);
      if (accepted === 'refused') throw new Refused();
      if (accepted.openAssignments === 0) await notify(tx, channels.work);
      return accepted.sequence;
    })
    .catch((error: unknown) => {
      if (error instanceof Refused) return undefined;
      throw error;
    });
  if (sequence === undefined) return explainRefusal(deps, device, assignment.id, update);
  await deps.failpoint('update.after_commit');
  return toReceipt('accepted', { ...update, sequence });
}

/** The round moved on while the body came in: its state now says what became of the update. */
async function explainRefusal(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
  update: AcceptedUpdate,
): Promise<Receipt> {
  await retireBlobs(deps.db.pool, [update.blobKey]);
  const assignment = await requireAssignment(deps, device, assignmentId);
  const receipt = await admitUpdate(deps, assignment, update);
  if (receipt) return receipt;
  throw new FedEdgeError('unavailable', {
    reason: 'the file was swept before it was accepted: send it again',
  });
}

/** Thrown to roll the acknowledgement back; never leaves this file. */
class Refused extends Error {}

function parseParameters({ settings }: AssignmentRow): unknown {
  const parsed = findStrategy(settings.strategy.name)!.parse(settings.strategy.parameters);
  if (!parsed.ok) throw new Error(`a run has parameters that its strategy refuses: ${parsed.reason}`);
  return parsed.parameters;
}

function toReceipt(
  status: Receipt['status'],
  update: { assignmentId: string; roundId: string; sequence: number; digest: string; receivedAt: Date },
): Receipt {
  const { assignmentId, roundId, sequence, digest, receivedAt } = update;
  return { status, assignment: assignmentId, round: roundId, sequence, digest, receivedAt };
}
