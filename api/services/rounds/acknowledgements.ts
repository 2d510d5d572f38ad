import type { Deps } from '../../deps.ts';
import type { Database } from '../../store/database.ts';
import { isOutage } from '../../store/outage.ts';
import { type AcceptedUpdate, acceptUpdates } from '../../store/rounds/updates.ts';

const MAX_TOGETHER = 256;

/** An update that is to be acknowledged, and who waits for that. */
interface Waiting {
  update: AcceptedUpdate;
  resolve(sequence: number | undefined): void;
  reject(error: unknown): void;
}

/** By round, while a transaction of it is under way: those that the next one takes. */
type Queues = Map<string, Waiting[]>;

const queuesOf = new WeakMap<Database, Queues>();

/**
 * Accepts a written update; resolves when that is committed, with its sequence, or with undefined if the round or its
 * assignment has moved on. A round's row is locked until the commit, so one transaction an update would wait for one
 * fsync each: updates that come while a transaction of their round is under way share the next one. Should that fail,
 * each gets one of its own, so that none depends on another.
 */
export function acceptTogether(
  { db }: Pick<Deps, 'db'>,
  update: AcceptedUpdate,
): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  const queues = queuesOf.get(db) ?? new Map<string, Waiting[]>();
  queuesOf.set(db, queues);
  const waiting = { update, resolve, reject };
  const queue = queues.get(update.roundId);
  if (queue) queue.push(waiting);
  else void drain(db, queues, update.roundId, [waiting]);
  return promise;
}

async function drain(db: Database, queues: Queues, roundId: string, queue: Waiting[]): Promise<void> {
  queues.set(roundId, queue);
  while (queue.length > 0) await commit(db, roundId, queue.splice(0, MAX_TOGETHER));
  queues.delete(roundId);
}

/** Never rejects. */
async function commit(db: Database, roundId: string, batch: readonly Waiting[]): Promise<void> {
  const updates = batch.map(({ update }) => update);
  try {
    const accepted = await acceptUpdates(db, roundId, updates);
    if (accepted !== 'refused') {
      return batch.forEach(({ resolve }, index) => void resolve(accepted.sequence + index));
    }
    if (batch.length === 1) return batch[0]!.resolve(undefined);
  } catch (error) {
    // What an outage has done to the commit nobody knows: each asks again, and the assignment tells.
    if (batch.length === 1 || isOutage(error)) return batch.forEach(({ reject }) => void reject(error));
  }
  for (const waiting of batch) await commit(db, roundId, [waiting]);
}
