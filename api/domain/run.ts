import type { Labels } from './device.ts';

/**
 *   active <--pause/resume--> paused
 *     |  \________stop________/ |
 *     v                         v
 *   completed | failed        stopped
 *
 * `active`     rounds open one after another
 * `paused`     the open round finishes, no other opens
 * `completed`  it has its rounds, or `endAt` has passed
 * `failed`     `maxFailedRounds` rounds failed in a row
 * `stopped`    by an operator
 */
export type RunState = 'active' | 'paused' | 'completed' | 'stopped' | 'failed';

/** What a device has to be, beside active and present, to be invited. */
export interface Selection {
  labels?: Labels | undefined;
  minMemoryMb?: number | undefined;
  minBattery?: number | undefined;
  chargingOnly?: boolean | undefined;
  unmeteredOnly?: boolean | undefined;
}

/** Evaluate rounds: every so many published versions, on devices, beside the training. */
export interface EvaluateSettings {
  everyRounds: number;
  quorum: number;
  capacity: number;
  deadlineMs: number;
}

export interface RunSettings {
  strategy: { name: string; parameters: Record<string, unknown> };
  /** Passed to the devices as they are: learning rate, epochs, batch size ... */
  hyperparameters: Record<string, string | number | boolean>;
  selection: Selection;
  rounds: number;
  quorum: number;
  capacity: number;
  deadlineMs: number;
  /** How long a round waits for enough devices. */
  pendingMs: number;
  /** A device that was not heard of for so long is not invited. */
  presenceMs: number;
  maxFailedRounds: number;
  seed: number;
  /** Keep the updates' files after their round: for audits and re-aggregation. */
  retainUpdates: boolean;
  /** For so long at most. Unset: until the federation's quota is used up. */
  retainUpdatesForDays?: number | undefined;
  evaluate?: EvaluateSettings | undefined;
}

const DAY_MS = 86_400_000;
/** Longer than any federation. */
const FOREVER_DAYS = 36_500;

/** Until when the files of a round's updates are kept that is published now; null: they go. */
export function retainedUntil(settings: RunSettings, now: Date): Date | null {
  if (!settings.retainUpdates) return null;
  return new Date(now.getTime() + (settings.retainUpdatesForDays ?? FOREVER_DAYS) * DAY_MS);
}

/** The state that a run is in after a train round ended, or undefined if it goes on. */
export function runEnd(
  run: { completedRounds: number; failedInARow: number; endAt: Date | null; settings: RunSettings },
  now: Date,
): { state: 'completed' | 'failed'; reason: string } | undefined {
  if (run.completedRounds >= run.settings.rounds) return { state: 'completed', reason: 'rounds_done' };
  if (run.endAt && run.endAt <= now) return { state: 'completed', reason: 'end_at' };
  if (run.failedInARow >= run.settings.maxFailedRounds)
    return { state: 'failed', reason: 'max_failed_rounds' };
  return undefined;
}

/**
 * True if a version of the run is to be evaluated on devices: every `everyRounds` publications, and the last one when
 * the run is over. `evaluatedRounds` is how many had been published up to the version that was evaluated last. An
 * evaluate round that takes longer than the next ones to train is made up for by one, not by all that it missed.
 */
export function isEvaluationDue(
  progress: { completedRounds: number; evaluatedRounds: number; isOver: boolean },
  everyRounds: number,
): boolean {
  const { completedRounds, evaluatedRounds, isOver } = progress;
  if (isOver) return completedRounds > evaluatedRounds;
  return Math.floor(completedRounds / everyRounds) > Math.floor(evaluatedRounds / everyRounds);
}
