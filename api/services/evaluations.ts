import type { Deps } from '../deps.ts';
import { FedEdgeError } from '../domain/errors.ts';
import type { Metrics } from '../domain/metrics.ts';
import type { Principal } from '../domain/role.ts';
import { channels, notify } from '../store/channels.ts';
import { acceptEvaluation, findEvaluation } from '../store/updates.ts';
import { requireAssignment } from './updates.ts';

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
 * Takes the results of an evaluate assignment. The same results again get the first answer, others
 * `evaluation_conflict`; `late`, `full` and `not_in_cohort` as for updates.
 */
export async function submitEvaluation(
  deps: Deps,
  device: Extract<Principal, { kind: 'device' }>,
  assignmentId: string,
  report: EvaluationReport,
): Promise<EvaluationReceipt> {
  const assignment = await requireAssignment(deps, device, assignmentId);
  if (assignment.kind !== 'evaluate') throw new FedEdgeError('not_in_cohort', { kind: assignment.kind });
  const receivedAt = deps.clock.now();
  const receipt = { assignment: assignment.id, round: assignment.roundId };
  const accepted = await deps.db.transaction(async (tx) => {
    const recorded = await findEvaluation(tx, assignment.id);
    if (recorded) return recorded;
    const { numExamples, metrics } = report;
    const row = { assignmentId, federationId: device.federationId, roundId: assignment.roundId };
    const result = await acceptEvaluation(tx, { ...row, numExamples, metrics, receivedAt });
    if (result === 'refused')
      throw new FedEdgeError(refusalOf(assignment.state), { round: assignment.roundId });
    if (result.openAssignments === 0) await notify(tx, channels.work);
    return { numExamples, metrics, receivedAt };
  });
  if (!isSame(accepted, report)) throw new FedEdgeError('evaluation_conflict');
  return { ...receipt, receivedAt: accepted.receivedAt };
}

function refusalOf(state: string): 'not_in_cohort' | 'late' {
  return state === 'returned' ? 'not_in_cohort' : 'late';
}

function isSame(a: EvaluationReport, b: EvaluationReport): boolean {
  const names = Object.keys(a.metrics);
  return (
    a.numExamples === b.numExamples &&
    names.length === Object.keys(b.metrics).length &&
    names.every((name) => a.metrics[name] === b.metrics[name])
  );
}
