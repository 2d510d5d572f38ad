/**
 * The life of a round.
 *
 *   pending --cohort drawn--> collecting --capacity | all settled | deadline--> aggregating --publish--> completed
 *      |                          |                                                 |
 *      |too_few_devices           |below_quorum                                     |updates_rejected, not_finite,
 *      |run_stopped               |run_stopped                                      |base_missing, head_moved
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
  /** Too few are left of those that it had accepted. */
  | 'updates_rejected'
  /** The base version's file is not there, or is not what was published. */
  | 'base_missing'
  /** The model has got another version meanwhile, not from this run. */
  | 'head_moved';

export interface PlaceFacts {
  assignment: AssignmentState;
  round: { state: RoundState; accepted: number; capacity: number; deadlineAt: Date | null };
}

export interface AdmissionFacts extends PlaceFacts {
  digest: string;
  /** The digest of the update that the assignment has already, if it has one. */
  recordedDigest: string | undefined;
}

export type PlaceAdmission = 'admitted' | 'late' | 'full' | 'not_in_cohort';
export type Admission = PlaceAdmission | 'duplicate' | 'update_conflict';

/**
 * What becomes of an update, from what is known before its body is read. The recorded digest decides first, whatever
 * the round's state: a device that lost its receipt gets it even after the round has ended.
 */
export function admit({ digest, recordedDigest, ...place }: AdmissionFacts, now: Date): Admission {
  if (recordedDigest !== undefined) return recordedDigest === digest ? 'duplicate' : 'update_conflict';
  return admitToPlace(place, now);
}

/** Whether a round takes one more result of an assignment that has none. */
export function admitToPlace({ assignment, round }: PlaceFacts, now: Date): PlaceAdmission {
  if (round.accepted >= round.capacity) return 'full';
  if (round.state !== 'collecting') return 'late';
  if (round.deadlineAt && now >= round.deadlineAt) return 'late';
  if (assignment === 'expired') return 'late';
  if (assignment !== 'open') return 'not_in_cohort';
  return 'admitted';
}

/** What a collecting round whose assignments are settled, or whose deadline has passed, becomes. */
export function closedState(accepted: number, quorum: number): 'aggregating' | 'failed' {
  return accepted >= quorum ? 'aggregating' : 'failed';
}
