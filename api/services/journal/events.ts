import type { Deps } from '../../deps.ts';
import type { Principal } from '../../domain/role.ts';
import { channels } from '../../store/journal/channels.ts';
import { type EventRow, lastEventPosition, listEvents } from '../../store/journal/event-views.ts';
import { numberEvents } from '../../store/journal/journal.ts';
import { createWaker } from '../waker.ts';

const BATCH = 500;
const POLL_MS = 5000;

export interface Event {
  /** Grows with every event; a reader resumes after the last one that it has seen. */
  position: number;
  type: string;
  subject: Record<string, string | number>;
  createdAt: Date;
}

type EventDeps = Pick<Deps, 'db' | 'listener'>;

/** The position after which only what is committed from now on follows. */
export async function currentPosition({ db }: Pick<Deps, 'db'>): Promise<number> {
  await numberEvents(db);
  return lastEventPosition(db.pool);
}

/**
 * The federation's events after a position, in order and without a gap, then those that happen, until the signal is
 * aborted. `types` leaves out all others. Every event comes from the table; wake-ups only save time.
 */
export async function* followEvents(
  { db, listener }: EventDeps,
  { federationId }: Principal,
  { after, types = [] }: { after: number; types?: readonly string[] },
  signal: AbortSignal,
): AsyncGenerator<Event, void, void> {
  const waker = createWaker(listener, [channels.events], signal);
  let last = after;
  try {
    while (!signal.aborted) {
      await numberEvents(db);
      const rows = await listEvents(db.pool, { federationId, after: last, types }, BATCH);
      for (const row of rows) {
        if (signal.aborted) return;
        yield toEvent(row);
        last = row.position;
      }
      if (rows.length < BATCH) await waker.wait(POLL_MS);
    }
  } finally {
    waker.stop();
  }
}

function toEvent({ position, type, subject, createdAt }: EventRow): Event {
  return { position, type, subject, createdAt };
}
