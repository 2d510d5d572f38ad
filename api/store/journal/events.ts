import type { Queryable } from '../database.ts';
import { events } from '../schema.ts';

export interface NewEvent {
  federationId: string;
  /** `round.completed`, `device.registered` ... */
  type: string;
  subject: Record<string, string | number>;
  createdAt: Date;
}

/** Notes an event in the caller's transaction: it exists if and only if what it tells of was committed. */
export async function recordEvent(tx: Queryable, event: NewEvent): Promise<void> {
  await tx.insert(events).values(event);
}
