import type { AcceptResult } from '../../store/rounds/places.ts';

/** Rolls the transaction of an acknowledgement back; never leaves `unlessRefused`. */
class Refused extends Error {}

/** The accepted result. Throws where there is none, so that the caller's transaction is rolled back. */
export function requireAccepted(result: AcceptResult): Exclude<AcceptResult, 'refused'> {
  if (result === 'refused') throw new Refused();
  return result;
}

/** What `work` returns; undefined if `requireAccepted` ended it. */
export async function unlessRefused<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Refused) return undefined;
    throw error;
  }
}
