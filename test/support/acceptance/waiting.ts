import { setTimeout as sleep } from 'node:timers/promises';

/** So long a test waits for what has to happen: generous, because nothing here measures time. */
export const PATIENCE_MS = 45_000;
const LOOK_MS = 25;

/** Looks until it holds. A look that throws is taken for a no; the last error says why it never held. */
export async function waitUntil(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  await waitFor(what, async () => (await holds()) || undefined);
}

/** Looks until there is something, and returns it. */
export async function waitFor<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + PATIENCE_MS;
  let cause: unknown;
  while (Date.now() < deadline) {
    try {
      const found = await look();
      if (found !== undefined) return found;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    await sleep(LOOK_MS);
  }
  throw new Error(`waited in vain until ${what}`, { cause });
}
