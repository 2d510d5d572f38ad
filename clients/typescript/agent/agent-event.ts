import type { Assignment } from '../generated/types.gen.ts';
import type { Progress } from '../trainer.ts';

/**
 * What became of an assignment. `returned`: given back by this device. `expired`: its deadline passed at work. The
 * others are the server's answers.
 */
export type AssignmentOutcome =
  | 'accepted'
  | 'duplicate'
  | 'late'
  | 'full'
  | 'stale'
  | 'not_in_cohort'
  | 'update_conflict'
  | 'evaluation_conflict'
  | 'assignment_settled'
  | 'not_found'
  | 'malformed'
  | 'returned'
  | 'expired';

/** What an agent tells while it works, in this order; for progress bars and logs. */
export type AgentEvent =
  | { type: 'pending' }
  | { type: 'ready'; device: string }
  | { type: 'assigned'; assignment: Assignment }
  | { type: 'downloaded'; assignment: Assignment; bytes: number; cached: boolean }
  | ({ type: 'training'; assignment: Assignment } & Progress)
  | { type: 'trained'; assignment: Assignment; digest: string; bytes: number }
  /** `assignmentId` alone names one that an earlier process had begun. */
  | { type: 'settled'; assignmentId: string; outcome: AssignmentOutcome; reason?: string | undefined }
  | { type: 'retrying'; error: Error; delayMs: number };

/** Takes a line of the log; pino fits. */
export interface AgentLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
