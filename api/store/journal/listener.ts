import type { Database } from '../database.ts';
import { type Channel, channels } from './channels.ts';

/** The one LISTEN connection of a process, shared by all that wait in it. */
export interface Listener {
  /**
   * Calls `wake` with each notification's payload until the answered function is called, and with '' after a
   * reconnect, when some may have been missed. `wake` must not throw.
   */
  subscribe(channel: Channel, wake: (payload: string) => void): () => void;
}

/** Begins to listen on every channel; it ends with the database's connections. */
export async function startListener(db: Pick<Database, 'listen'>): Promise<Listener> {
  const names = Object.values(channels);
  const waiters = new Map<Channel, Set<{ wake: (payload: string) => void }>>(
    names.map((name) => [name, new Set()]),
  );
  const wakeAll = (name: Channel, payload: string) => {
    for (const waiter of [...waiters.get(name)!]) waiter.wake(payload);
  };
  await Promise.all(names.map((name) => db.listen(name, (payload) => wakeAll(name, payload))));
  return {
    subscribe(channel, wake) {
      // An object of its own: one function may be subscribed twice.
      const waiter = { wake };
      waiters.get(channel)!.add(waiter);
      return () => waiters.get(channel)!.delete(waiter);
    },
  };
}
