import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Metrics } from '../../domain/metrics.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import { admitToPlace } from '../../domain/round.ts';
import { forgetAssignment } from '../../store/identity/credential-cache.ts';
import type { AssignmentRow } from '../../store/rounds/assignments.ts';
import { acceptEvaluation, findEvaluation, type NewEvaluation } from '../../store/rounds/evaluations.ts';
import { requireAssignment } from './assignments.ts';
import { requireAccepted, unlessRefused } from './refusals.ts';

export interface EvaluationReport {
  numExamples: number;
  metrics: Metrics;
}

export interface EvaluationReceipt {
  assignment: string;
  round: string;
  receivedAt: Date;
}

/**
 * Takes the results of an evaluate assignment. The same results again get the first answer, whatever the round's state;
 * others `evaluation_conflict`. Throws `late`, `full` and `not_in_cohort` as for updates.
 */
export async function submitEvaluation(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
  report: EvaluationReport,
): Promise<EvaluationReceipt> {
  const assignment = await requireAssignment(deps, device, assignmentId);
  const first = await admitEvaluation(deps, assignment, report);
  if (first) return first;
  const { numExamples, metrics } = report;
  const receivedAt = deps.clock.now();
  const { roundId } = assignment;
  const evaluation = {
    assignmentId,
    federationId: device.federationId,
    roundId,
    numExamples,
    metrics,
    receivedAt,
  };
  const accepted = await unlessRefused(() =>
    deps.db.transaction(async (tx) => requireAccepted(await acceptEvaluation(tx, evaluation))),
  );
  forgetAssignment(deps.credentials, device.id);
  if (accepted) return toReceipt(evaluation);
  // The round or the assignment moved on meanwhile: their state now says what became of the results.
  const again = await admitEvaluation(deps, await requireAssignment(deps, device, assignmentId), report);
  if (again) return again;
  throw new FedEdgeError('unavailable', { reason: 'the results could not be accepted now: send them again' });
}

/** The first receipt if the same results were accepted before, undefined if they are welcome. */
async function admitEvaluation(
  deps: Deps,
  assignment: AssignmentRow,
  report: EvaluationReport,
): Promise<EvaluationReceipt | undefined> {
  const { id, kind, roundId, state, roundState, accepted, capacity, deadlineAt } = assignment;
  if (kind !== 'evaluate') throw new FedEdgeError('not_in_cohort', { kind });
  const recorded = await findEvaluation(deps.db.pool, id);
  if (recorded && !isSame(recorded, report)) throw new FedEdgeError('evaluation_conflict');
  if (recorded) return toReceipt(recorded);
  const round = { state: roundState, accepted, capacity, deadlineAt };
  const admission = admitToPlace({ assignment: state, round }, deps.clock.now());
  if (admission !== 'admitted') throw new FedEdgeError(admission, { round: roundId });
  return undefined;
}

function toReceipt({ assignmentId, roundId, receivedAt }: NewEvaluation): EvaluationReceipt {
  return { assignment: assignmentId, round: roundId, receivedAt };
}

function isSame(a: EvaluationReport, b: EvaluationReport): boolean {
  const names = Object.keys(a.metrics);
  return (
    a.numExamples === b.numExamples &&
    names.length === Object.keys(b.metrics).length &&
    names.every((name) => a.metrics[name] === b.metrics[name])
  );
}
