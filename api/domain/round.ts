/**
 * The life of a round.
 *
 *   pending --cohort drawn--> collecting --capacity | all settled | deadline--> aggregating --publish--> completed
 *      |                          |                                                 |
 *      |too_few_devices           |below_quorum                                     |not_finite, no_update_left,
 *      |run_stopped               |run_stopped                                      |too few left after rejections
 *      v                          v                                                 v
 *    failed <-------------------------------------------------------------------------
 *
 * `pending`      waits until enough eligible devices are present, at most `pendingMs`
 * `collecting`   its cohort trains (or evaluates); updates are accepted and folded as they come
 * `aggregating`  closed: no update is accepted, the worker folds the tail and publishes
 * `completed`    its version is published (train), its metrics are recorded (evaluate)
 * `failed`       ended with a reason; its accepted updates are `expired`
 *
 * Every edge is one conditional UPDATE, so any number of workers may try it at once.
 */
export type RoundState = 'pending' | 'collecting' | 'aggregating' | 'completed' | 'failed';
export type RoundKind = 'train' | 'evaluate';
export type AssignmentState = 'open' | 'accepted' | 'returned' | 'expired';
export type UpdateState = 'accepted' | 'folded' | 'rejected' | 'expired';

export type FailureReason =
  | 'too_few_devices'
  | 'below_quorum'
  | 'run_stopped'
  | 'not_finite'
  | 'updates_rejected'
  | 'base_missing';

export const openRoundStates: readonly RoundState[] = ['pending', 'collecting', 'aggregating'];

export interface AdmissionFacts {
  digest: string;
  /** The digest of the update that the assignment has already, if it has one. */
  recordedDigest: string | undefined;
  assignment: AssignmentState;
  round: { state: RoundState; accepted: number; capacity: number; deadlineAt: Date | null };
}

export type Admission = 'admitted' | 'duplicate' | 'update_conflict' | 'late' | 'full' | 'not_in_cohort';

/**
 * What becomes of an update, from what is known before its body is read. The recorded digest decides first, whatever
 * the round's state: a device that lost its receipt gets it even after the round has ended.
 */
export function admit({ digest, recordedDigest, assignment, round }: AdmissionFacts, now: Date): Admission {
  if (recordedDigest !== undefined) return recordedDigest === digest ? 'duplicate' : 'update_conflict';
  if (round.state === 'collecting' && round.accepted >= round.capacity) return 'full';
  if (round.state !== 'collecting') return round.accepted >= round.capacity ? 'full' : 'late';
  if (round.deadlineAt && now >= round.deadlineAt) return 'late';
  if (assignment === 'expired') return 'late';
  if (assignment !== 'open') return 'not_in_cohort';
  return 'admitted';
}

/** What a collecting round whose assignments are settled, or whose deadline has passed, becomes. */
export function closedState(accepted: number, quorum: number): 'aggregating' | 'failed' {
  return accepted >= quorum ? 'aggregating' : 'failed';
}
