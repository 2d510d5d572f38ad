import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import { admit } from '../../domain/round.ts';
import { maxUpdateBytes } from '../../domain/update.ts';
import type { AdmissibleAssignment } from '../../store/rounds/assignments.ts';

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
 * Counts what becomes of updates that are sent: `accepted`, `duplicate`, or the code of the refusal. Nothing where
 * `submit` gives no receipt: the update is welcome, and its bytes are still to come.
 */
export async function countAdmission<R extends { status: 'accepted' | 'duplicate' } | undefined>(
  { metrics }: Pick<Deps, 'metrics'>,
  submit: () => Promise<R>,
): Promise<R> {
  try {
    const receipt = await submit();
    if (receipt) metrics.admissions.inc({ admission: receipt.status });
    // Synchronous rounds take updates of their own base alone.
    if (receipt?.status === 'accepted') metrics.staleness.observe(0);
    return receipt;
  } catch (error) {
    metrics.admissions.inc({ admission: error instanceof FedEdgeError ? error.code : 'failed' });
    throw error;
  }
}

/**
 * Admission, before a byte is read. Returns the first receipt if the same update was acknowledged before, undefined if
 * the update is welcome.
 */
export function admitUpdate(
  deps: Deps,
  assignment: AdmissibleAssignment,
  { bytes, digest }: { bytes: number; digest: string },
): Receipt | undefined {
  const { id, kind, roundId, update, state, roundState, accepted, capacity, deadlineAt } = assignment;
  if (kind !== 'train') throw new FedEdgeError('not_in_cohort', { kind });
  const round = { state: roundState, accepted, capacity, deadlineAt };
  const facts = { digest, recordedDigest: update?.digest, assignment: state, round };
  const admission = admit(facts, deps.clock.now());
  if (admission === 'duplicate') {
    return toReceipt('duplicate', { ...update!, assignmentId: id, roundId });
  }
  if (admission !== 'admitted') throw new FedEdgeError(admission, { round: roundId });
  const maxBytes = mostUpdateBytes(deps, assignment);
  if (bytes > maxBytes) throw new FedEdgeError('too_large', { maxBytes });
  return undefined;
}

/** The longest file that an update may be, in bytes: by its model, and by this server's limit. */
export function mostUpdateBytes(
  { config }: Pick<Deps, 'config'>,
  { parameters }: { parameters: number },
): number {
  return Math.min(maxUpdateBytes(parameters), config.maxUpdateBytes);
}

export function toReceipt(
  status: Receipt['status'],
  update: { assignmentId: string; roundId: string; sequence: number; digest: string; receivedAt: Date },
): Receipt {
  const { assignmentId, roundId, sequence, digest, receivedAt } = update;
  return { status, assignment: assignmentId, round: roundId, sequence, digest, receivedAt };
}
