import type { Deps } from '../../deps.ts';
import type { Manifest } from '../../domain/manifest.ts';
import type { RunSettings } from '../../domain/run.ts';
import type { FoldThread } from '../../kernels/folds/folds.ts';
import { renewLease } from '../../store/rounds/leases.ts';

/** What every function of a folder gets: its parts, its name, and when it has to stop. */
export interface FoldContext {
  deps: Deps;
  folds: FoldThread;
  /** Leases are taken in this name; one worker at a time has it. */
  holder: string;
  signal: AbortSignal;
}

/** A round whose lease this worker holds, with the accumulator on the fold thread. */
export interface Fold {
  /** On the thread: one for each taking of the lease, so that a lost one is never mixed with its successor. */
  id: string;
  roundId: string;
  fence: number;
  manifest: Manifest;
  parameters: number;
  settings: RunSettings;
  /** Updates up to this sequence are in the accumulator. */
  sequence: number;
  sinceCheckpoint: { updates: number; bytes: number };
  renewedAt: number;
}

/** The lease has another holder, the round is over, or the worker stops: nothing may be written. */
export class LeaseLostError extends Error {
  override name = 'LeaseLostError';
}

/** Renews the lease when a third of it has passed. Throws LeaseLostError. */
export async function renewHold({ deps, signal }: FoldContext, fold: Fold): Promise<void> {
  if (signal.aborted) throw new LeaseLostError('the worker stops');
  const now = deps.clock.now().getTime();
  const { leaseMs } = deps.config;
  if (now - fold.renewedAt < leaseMs / 3) return;
  const expiresAt = new Date(now + leaseMs);
  if (!(await renewLease(deps.db.pool, fold.roundId, fold.fence, expiresAt))) {
    throw new LeaseLostError(`round ${fold.roundId}: fence ${fold.fence} is dead`);
  }
  fold.renewedAt = now;
}

/** Passes chunks on and keeps the lease meanwhile, however long the file is. Throws LeaseLostError. */
export async function* whileHeld(
  context: FoldContext,
  fold: Fold,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    await renewHold(context, fold);
    yield chunk;
  }
}
