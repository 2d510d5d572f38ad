import type { Deps } from '../../deps.ts';
import type { Database } from '../../store/database.ts';
import { reserveBlobs } from '../../store/models/blob-rows.ts';
import { isOutage } from '../../store/outage.ts';
import { type AcceptedUpdate, acceptUpdates } from '../../store/rounds/updates.ts';
import { type Gatherer, gatherQuestions } from './arrivals.ts';
import { requireAccepted, unlessRefused } from './refusals.ts';

const MAX_TOGETHER = 256;

/** An update that is to be acknowledged, and who waits for that. */
interface Waiting {
  update: AcceptedUpdate;
  resolve(sequence: number | undefined): void;
  reject(error: unknown): void;
}

/** What of a process is on its way into its database. */
interface Pending {
  /** By round, while a transaction of it is under way: those that the next one takes. */
  rounds: Map<string, Waiting[]>;
  reserve: Gatherer<{ id: string; now: Date }, true>;
}

const pendings = new WeakMap<Database, Pending>();

function pendingOf(db: Database): Pending {
  let pending = pendings.get(db);
  if (!pending) {
    const reserve = gatherQuestions<{ id: string; now: Date }, true>(async (blobs) => {
      await reserveBlobs(
        db.pool,
        blobs.map(({ id: key, now }) => ({ key, now })),
      );
      return new Map(blobs.map(({ id }) => [id, true]));
    });
    pending = { rounds: new Map(), reserve };
    pendings.set(db, pending);
  }
  return pending;
}

/** Announces a blob of an update; those that come at once, in one statement. */
export async function reserveTogether({ db }: Pick<Deps, 'db'>, key: string, now: Date): Promise<void> {
  await pendingOf(db).reserve({ id: key, now });
}

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
  const { rounds } = pendingOf(db);
  const waiting = { update, resolve, reject };
  const queue = rounds.get(update.roundId);
  if (queue) queue.push(waiting);
  else void drain(db, rounds, update.roundId, [waiting]);
  return promise;
}

async function drain(
  db: Database,
  rounds: Pending['rounds'],
  roundId: string,
  queue: Waiting[],
): Promise<void> {
  rounds.set(roundId, queue);
  while (queue.length > 0) await commit(db, roundId, queue.splice(0, MAX_TOGETHER));
  rounds.delete(roundId);
}

/** Never rejects. */
async function commit(db: Database, roundId: string, batch: readonly Waiting[]): Promise<void> {
  const updates = batch.map(({ update }) => update);
  try {
    const accepted = await unlessRefused(() =>
      db.transaction(async (tx) => requireAccepted(await acceptUpdates(tx, roundId, updates))),
    );
    if (accepted) return batch.forEach(({ resolve }, index) => void resolve(accepted.sequence + index));
    if (batch.length === 1) return batch[0]!.resolve(undefined);
  } catch (error) {
    // What an outage has done to the commit nobody knows: each asks again, and the assignment tells.
    if (batch.length === 1 || isOutage(error)) return batch.forEach(({ reject }) => void reject(error));
  }
  for (const waiting of batch) await commit(db, roundId, [waiting]);
}
