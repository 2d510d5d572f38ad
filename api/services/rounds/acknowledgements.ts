import type { Deps } from '../../deps.ts';
import { isGathered } from '../../domain/body.ts';
import type { Database } from '../../store/database.ts';
import { isOutage } from '../../store/outage.ts';
import { type AcceptedUpdate, acceptUpdates } from '../../store/rounds/updates.ts';
import { pause } from '../waker.ts';

const MAX_TOGETHER = 256;
/** So long a transaction waits for small updates that come in: it costs a tenth of one, and far more than a row in it. */
const COMPANY_MS = 5;
/** So many need not wait for more: while their transaction is under way, the next gathers. */
const ENOUGH = 4;

/** An update that comes in. When this ends without one, nobody waits for it any longer. */
export interface Acknowledgement extends Disposable {
  /**
   * Accepts the update, which is stored; resolves when that is committed, with its sequence, or with undefined if the round
   * or its assignment has moved on.
   */
  accept(update: AcceptedUpdate): Promise<number | undefined>;
}

/** An update that is to be acknowledged, and who waits for that. */
interface Waiting {
  update: AcceptedUpdate;
  resolve(sequence: number | undefined): void;
  reject(error: unknown): void;
}

/** The updates of a round that come through this process. */
interface Queue {
  /** The updates that have to do with it: without any it is forgotten. */
  users: number;
  /** Small ones, received and stored at this moment. */
  expected: number;
  waiting: Waiting[];
  isDraining: boolean;
  /** Called when there are enough, or none is expected any longer. */
  onComplete?: (() => void) | undefined;
}

/** By round. */
type Queues = Map<string, Queue>;

const queuesOf = new WeakMap<Database, Queues>();

/**
 * Tells that an update of `bytes` comes in; it has to be disposed of.
 *
 * A round's row is locked until the commit, so one transaction an update would wait for one fsync each: updates that come
 * while a transaction of their round is under way, or is about to begin, share the next one. Should that be refused, each
 * half gets one of its own, down to the update that is to blame: none depends on another.
 */
export function expectUpdate(
  { db }: Pick<Deps, 'db'>,
  { roundId, bytes }: { roundId: string; bytes: number },
): Acknowledgement {
  const queues = queuesOf.get(db) ?? new Map<string, Queue>();
  queuesOf.set(db, queues);
  const queue = queues.get(roundId) ?? { users: 0, expected: 0, waiting: [], isDraining: false };
  queues.set(roundId, queue);
  queue.users += 1;
  // A large one costs so much more than a transaction that nobody need wait for it.
  let isExpected = isGathered(bytes);
  if (isExpected) queue.expected += 1;

  function arrive(): void {
    if (isExpected) queue.expected -= 1;
    isExpected = false;
    if (isComplete(queue)) queue.onComplete?.();
  }

  return {
    accept(update) {
      const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
      queue.waiting.push({ update, resolve, reject });
      arrive();
      if (!queue.isDraining) void drain(db, roundId, queue);
      return promise;
    },
    [Symbol.dispose]() {
      arrive();
      queue.users -= 1;
      if (queue.users === 0) queues.delete(roundId);
    },
  };
}

async function drain(db: Database, roundId: string, queue: Queue): Promise<void> {
  queue.isDraining = true;
  while (queue.waiting.length > 0) {
    await awaitCompany(queue);
    await commit(db, roundId, queue.waiting.splice(0, MAX_TOGETHER));
  }
  queue.isDraining = false;
}

async function awaitCompany(queue: Queue): Promise<void> {
  if (isComplete(queue)) return;
  await pause(COMPANY_MS, (end) => (queue.onComplete = end));
  queue.onComplete = undefined;
}

function isComplete({ expected, waiting }: Queue): boolean {
  return expected === 0 || waiting.length >= ENOUGH;
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
  const half = batch.length >> 1;
  await commit(db, roundId, batch.slice(0, half));
  await commit(db, roundId, batch.slice(half));
}
