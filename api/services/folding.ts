import type { Deps } from '../deps.ts';
import { FoldLostError, FoldThreadError } from '../kernels/fold-errors.ts';
import type { FoldThread } from '../kernels/folds.ts';
import {
  type FoldableRound,
  type FoldableUpdate,
  listFoldableRounds,
  listNewUpdates,
  releaseLease,
} from '../store/leases.ts';
import { addUpdate, type Fold, holdRound, renewHold, saveFold } from './folds.ts';
import { failRound, publishRound } from './publication.ts';

/** How many updates one look takes, over all rounds: small enough that leases are renewed in time. */
const BATCH = 64;
/** Checkpoints cost eight bytes a parameter: one for so many times their size in folded bytes. */
const CHECKPOINT_RATIO = 8;

/** While rounds collect, new updates are asked for so often; no update has a wake of its own. */
const COLLECTING_MS = 100;
const IDLE_MS = 5000;

export interface Folder {
  /** Folds what has come, publishes what is complete. Returns after how many milliseconds to look again. */
  step(): Promise<number>;
  /** Gives the leases back. */
  close(): Promise<void>;
}

/** Aggregation that trails the intake: holds the leases of rounds and folds their updates in sequence order. */
export function createFolder(deps: Deps, folds: FoldThread, holder: string): Folder {
  const held = new Map<string, Fold>();

  /** Forgets a fold: its lease is lost, its round is over, or its accumulator is spoiled. */
  async function drop(fold: Fold): Promise<void> {
    held.delete(fold.roundId);
    await folds.release(fold.id).catch(() => undefined);
  }

  async function hold(rounds: readonly FoldableRound[]): Promise<void> {
    const live = new Set(rounds.map(({ id }) => id));
    for (const fold of held.values()) if (!live.has(fold.roundId)) await drop(fold);
    for (const round of rounds) {
      const fold = held.get(round.id);
      if (fold && !(await renewHold(deps, fold))) await drop(fold);
      if (held.has(round.id)) continue;
      const taken = await holdRound(deps, folds, round, holder);
      if (taken) held.set(round.id, taken);
    }
  }

  async function fold(update: FoldableUpdate): Promise<void> {
    const target = held.get(update.roundId);
    if (!target) return;
    try {
      const kept = (await renewHold(deps, target)) && (await addUpdate(deps, folds, target, update));
      if (!kept) await drop(target);
      else if (isCheckpointDue(deps, target)) await saveFold(deps, folds, target);
    } catch (error) {
      await drop(target);
      if (!(error instanceof FoldLostError || error instanceof FoldThreadError)) throw error;
      deps.log.warn({ err: error, round: target.roundId }, 'a fold was lost and starts again');
    }
  }

  async function finish(round: FoldableRound): Promise<void> {
    const target = held.get(round.id);
    if (!target || round.state !== 'aggregating' || target.sequence < round.accepted) return;
    try {
      const failure = await publishRound(deps, folds, target);
      if (failure) await failRound(deps, target, failure);
    } finally {
      // Published, failed or neither: a next try takes the lease anew, and writes under a new fence.
      await drop(target);
    }
  }

  return {
    async step() {
      const rounds = await listFoldableRounds(deps.db.pool);
      await hold(rounds.filter(({ accepted }) => accepted > 0));
      const behind = rounds.filter(
        (round) => (held.get(round.id)?.sequence ?? round.accepted) < round.accepted,
      );
      const places = behind.map(({ id }) => ({ roundId: id, sequence: held.get(id)!.sequence }));
      const updates = places.length > 0 ? await listNewUpdates(deps.db.pool, places, BATCH) : [];
      for (const update of updates) await fold(update);
      for (const round of rounds) await finish(round);
      if (updates.length === BATCH) return 0;
      return rounds.length > 0 ? COLLECTING_MS : IDLE_MS;
    },
    async close() {
      for (const fold of held.values()) {
        await releaseLease(deps.db.pool, fold.roundId, fold.fence, deps.clock.now()).catch(() => undefined);
      }
      held.clear();
    },
  };
}

function isCheckpointDue({ config }: Deps, fold: Fold): boolean {
  if (config.checkpointUpdates !== undefined) return fold.sinceCheckpoint.updates >= config.checkpointUpdates;
  return fold.sinceCheckpoint.bytes >= CHECKPOINT_RATIO * fold.parameters * 8;
}
