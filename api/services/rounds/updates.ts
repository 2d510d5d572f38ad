import type { Deps } from '../../deps.ts';
import type { DeclaredBody } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { chosenStrategy } from '../../domain/strategies/index.ts';
import { planUpdate, type UpdatePlan } from '../../domain/update.ts';
import { createSeal } from '../../kernels/seals.ts';
import { forgetAssignment } from '../../store/identity/credential-cache.ts';
import { abandonBlob } from '../../store/models/blob-rows.ts';
import type { AdmissibleAssignment } from '../../store/rounds/assignments.ts';
import { findTensors } from '../../store/rounds/model-tensors.ts';
import type { AcceptedUpdate } from '../../store/rounds/updates.ts';
import { tracedInRound } from '../../tracing/spans.ts';
import { receiveTensors } from '../models/tensor-intake.ts';
import { type Acknowledgement, expectUpdate } from './acknowledgements.ts';
import { admitUpdate, countAdmission, type Receipt, toReceipt } from './admissions.ts';
import { requireAssignment } from './assignments.ts';
import { reserveUpdateBlob } from './reservations.ts';

/** A body that has waited for its turn for so long may be too late. */
const STALE_MS = 100;

/**
 * Takes a device's update. Nothing of the body is read unless the update is admitted; it is acknowledged after its
 * bytes are durable and its row is committed. Throws `not_found`, `late`, `full`, `not_in_cohort`, `update_conflict` (the
 * assignment is settled or never was), `too_large`, `malformed`, `digest_mismatch`, `body_incomplete` and `unavailable`
 * (it stays open).
 */
export async function submitUpdate(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
  declared: DeclaredBody,
): Promise<Receipt> {
  return countAdmission(deps, async () => {
    const known = deps.credentials.assignments.find(device.id, assignmentId, deps.clock.now());
    const assignment = known ?? (await requireAssignment(deps, device, assignmentId));
    const receipt = admitUpdate(deps, assignment, declared);
    if (receipt) return receipt;
    const { roundId } = assignment;
    return tracedInRound(roundId, 'intake', { 'fededge.bytes': declared.bytes }, async () => {
      using acknowledgement = expectUpdate(deps, { roundId, bytes: declared.bytes });
      const update = await receiveUpdate(deps, device, assignment, declared);
      return await acknowledge(deps, device, assignment, update, acknowledgement);
    });
  });
}

/** Streams the file into a blob of its own and checks everything that the bytes alone can tell. */
async function receiveUpdate(
  deps: Deps,
  device: DevicePrincipal,
  assignment: AdmissibleAssignment,
  { bytes, digest, body }: DeclaredBody,
): Promise<AcceptedUpdate> {
  const { pool } = deps.db;
  const since = performance.now();
  const { strategy, parameters, scalars: required } = chosenStrategy(assignment.settings.strategy);
  const manifest = await findTensors(pool, assignment.modelId);
  const reservation = reserveUpdateBlob(deps, bytes);
  const sealer = createSeal();
  let plan: UpdatePlan | undefined;
  let blobKey: string | undefined;
  try {
    const { norm } = await receiveTensors(deps, {
      claim(isWhole) {
        const place = reservation.claim(isWhole);
        blobKey = place.key;
        return place;
      },
      body,
      bytes,
      digest,
      sealer,
      async onTurn() {
        if (performance.now() - since < STALE_MS) return;
        admitUpdate(deps, await requireAssignment(deps, device, assignment.id), { bytes, digest });
      },
      plan: (header) => {
        const result = planUpdate(header, manifest, required);
        if (!result.ok) return result;
        plan = result.plan;
        return { ok: true, segments: plan.segments };
      },
    });
    const { numExamples, metrics, scalars } = plan!;
    const weight = strategy.weigh(parameters, { numExamples, norm, staleness: 0, scalars });
    const owner = { assignmentId: assignment.id, federationId: device.federationId, deviceId: device.id };
    const file = { roundId: assignment.roundId, digest, seal: sealer.close(), bytes, blobKey: blobKey! };
    return { ...owner, ...file, numExamples, weight, norm, scalars, metrics, receivedAt: deps.clock.now() };
  } catch (error) {
    await reservation.abandon();
    throw error;
  }
}

/** ONE transaction, perhaps shared with others; after its commit the update counts, whatever happens to the answer. */
async function acknowledge(
  deps: Deps,
  device: DevicePrincipal,
  assignment: AdmissibleAssignment,
  update: AcceptedUpdate,
  acknowledgement: Acknowledgement,
): Promise<Receipt> {
  await deps.failpoint('update.before_commit');
  const sequence = await acknowledgement.accept(update);
  forgetAssignment(deps.credentials, device.id);
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
  await abandonBlob(deps.db.pool, update.blobKey);
  const assignment = await requireAssignment(deps, device, assignmentId);
  const receipt = admitUpdate(deps, assignment, update);
  if (receipt) return receipt;
  throw new FedEdgeError('unavailable', {
    reason: 'the update could not be accepted now: send it again',
  });
}
