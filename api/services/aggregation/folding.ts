import { isOutage } from '../../store/outage.ts';
import {
  type FoldableRound,
  type FoldableUpdate,
  listFoldableRounds,
  listNewUpdates,
  releaseLease,
} from '../../store/rounds/leases.ts';
import { tracedInRound } from '../../tracing/spans.ts';
import { isCheckpointDue, saveCheckpoint } from './checkpoints.ts';
import { addUpdate } from './folds.ts';
import { type Fold, type FoldContext, LeaseLostError, renewHold } from './holds.ts';
import { publishRound } from './publication.ts';
import { holdRound } from './takings.ts';

/** How many updates of a round one look takes, so that no round waits for all of another's. */
const BATCH = 16;

/** While updates of a round come, more are asked for so often; none has a wake of its own, but the end of the round has. */
const COLLECTING_MS = 100;
/** So often at least where none comes for a while, as devices train. */
const QUIET_MS = 300;
/** So many looks within a lease, which they renew. */
const LOOKS_A_LEASE = 3;
const IDLE_MS = 5000;

export interface Folder {
  /** Folds what has come, publishes what is complete. Returns after how many milliseconds to look again. */
  step(): Promise<number>;
  /** Gives the leases back. */
  close(): Promise<void>;
}

/**
 * Aggregation that trails the intake: holds the leases of rounds and folds their updates in sequence order. A round
 * that fails does not keep the others from going on; the first failure is thrown at the end of a step.
 */
export function createFolder(context: FoldContext): Folder {
  const { deps, folds, holder, signal } = context;
  const held = new Map<string, Fold>();
  let known = new Set<string>();
  let pauseMs = COLLECTING_MS;

  /** Forgets a fold: its lease is lost, its round is over, or its accumulator is spoiled. */
  async function drop(fold: Fold): Promise<void> {
    held.delete(fold.roundId);
    await folds.release(fold.id).catch(() => undefined);
  }

  /** Keeps what is still held, takes what is free and has something to fold: an accumulator costs memory. */
  async function hold(round: FoldableRound): Promise<void> {
    const fold = held.get(round.id);
    if (fold && round.lease?.fence === fold.fence) return renewHold(context, fold);
    if (fold) await drop(fold);
    if (round.accepted === 0 || !isFree(round)) return;
    const taken = await holdRound(context, round);
    if (taken) held.set(round.id, taken);
  }

  function isFree({ lease }: FoldableRound): boolean {
    return lease === null || lease.holder === holder || lease.expiresAt <= deps.clock.now();
  }

  /** Folds the next updates. True: there may be more at once. */
  async function fold(target: Fold, updates: readonly FoldableUpdate[]): Promise<boolean> {
    for (const update of updates) {
      // Only when there is more to fold: a whole fold is published at once.
      if (isCheckpointDue(context, target)) await saveCheckpoint(context, target);
      const added = await addUpdate(context, target, update).catch(async (error: unknown) => {
        if (!signal.aborted) await drop(target);
        throw error;
      });
      if (!added) {
        await drop(target);
        return true;
      }
    }
    return updates.length === BATCH;
  }

  async function publish(target: Fold, round: FoldableRound): Promise<void> {
    if (round.state !== 'aggregating' || target.sequence < round.accepted) return;
    await tracedInRound(round.id, 'publish', { 'fededge.updates': round.accepted }, () =>
      publishRound(context, target),
    );
    await drop(target);
  }

  /**
   * Does a part of a round's work. After an outage the accumulator is still whole; after anything else the fold starts
   * again from its checkpoint, under a new fence.
   */
  async function attempt(
    round: FoldableRound,
    failures: unknown[],
    work: () => Promise<void>,
  ): Promise<void> {
    // In an outage each round would take its time to fail.
    if (signal.aborted) return;
    try {
      await work();
    } catch (error) {
      if (signal.aborted) return;
      const target = held.get(round.id);
      if (target && !isOutage(error)) await drop(target);
      if (error instanceof LeaseLostError) return;
      deps.log.warn({ err: error, round: round.id }, 'a round could not be folded now');
      failures.push(error);
    }
  }

  async function listUpdates(rounds: readonly FoldableRound[]): Promise<Map<string, FoldableUpdate[]>> {
    const places = rounds.flatMap(({ id, accepted }) => {
      const sequence = held.get(id)?.sequence ?? accepted;
      return sequence < accepted ? [{ roundId: id, sequence }] : [];
    });
    if (places.length === 0) return new Map();
    return Map.groupBy(await listNewUpdates(deps.db.pool, places, BATCH), ({ roundId }) => roundId);
  }

  /** Until the next look: longer each time that there is nothing new. */
  function nextPause(live: Set<string>, hasUpdates: boolean): number {
    const isNew = hasUpdates || [...live].some((id) => !known.has(id));
    known = live;
    pauseMs = isNew ? COLLECTING_MS : Math.min(2 * pauseMs, QUIET_MS);
    return Math.min(pauseMs, deps.config.leaseMs / LOOKS_A_LEASE);
  }

  return {
    async step() {
      const failures: unknown[] = [];
      const rounds = await listFoldableRounds(deps.db.pool);
      const live = new Set(rounds.map(({ id }) => id));
      for (const target of held.values()) if (!live.has(target.roundId)) await drop(target);
      for (const round of rounds) await attempt(round, failures, () => hold(round));
      const updates = await listUpdates(rounds);
      let isBehind = false;
      for (const round of rounds) {
        const target = held.get(round.id);
        if (!target) continue;
        await attempt(round, failures, async () => {
          if (await fold(target, updates.get(round.id) ?? [])) isBehind = true;
          else await publish(target, round);
        });
      }
      if (failures.length > 0) throw failures[0];
      const untilNext = nextPause(live, updates.size > 0);
      if (isBehind) return 0;
      return rounds.length > 0 ? untilNext : IDLE_MS;
    },
    async close() {
      for (const { roundId, fence } of held.values()) {
        await releaseLease(deps.db.pool, roundId, fence, deps.clock.now()).catch(() => undefined);
      }
      held.clear();
    },
  };
}
