import { setTimeout as sleep } from 'node:timers/promises';

export interface Patience {
  seconds?: number;
  everyMs?: number;
  signal?: AbortSignal | undefined;
}

/** Looks until there is something, and returns it. A look that throws is taken for a no. Rejects with the last of both. */
export async function waitFor<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  { seconds = 120, everyMs = 500, signal }: Patience = {},
): Promise<T> {
  const giveUpAt = performance.now() + seconds * 1000;
  let cause: unknown;
  do {
    signal?.throwIfAborted();
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      cause = undefined;
    } catch (error) {
      signal?.throwIfAborted();
      cause = error;
    }
    await sleep(everyMs, undefined, { signal });
  } while (performance.now() < giveUpAt);
  const why = cause instanceof Error ? ` (${cause.message})` : '';
  throw new Error(`waited ${seconds} s in vain until ${what}${why}`, { cause });
}
