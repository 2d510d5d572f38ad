/** Of some 700 bytes each. */
const MAX_TOKENS = 2000;
/** Half of a signature: nobody guesses it, and it is hashed in a tenth of the time that the whole takes. */
const END_CHARACTERS = 43;

/**
 * Remembers the keys that cached tokens have, by the whole header field, so that not every request hashes one. A key says
 * nothing of whether a token is good: that is asked of the cache, every time. The tokens themselves are in memory here,
 * beside the key that signs them.
 */
export interface TokenEntries {
  recall(authorization: string): string | undefined;
  /** For tokens alone that were found to be ours and valid. */
  keep(authorization: string, entry: string): void;
}

/** Bounded: those that were kept longest ago go first. */
export function createTokenEntries(maxTokens: number = MAX_TOKENS): TokenEntries {
  const byEnd = new Map<string, { authorization: string; entry: string }>();
  const endOf = (authorization: string) => authorization.slice(-END_CHARACTERS);
  return {
    recall(authorization) {
      const known = byEnd.get(endOf(authorization));
      return known?.authorization === authorization ? known.entry : undefined;
    },
    keep(authorization, entry) {
      const end = endOf(authorization);
      if (byEnd.size >= maxTokens && !byEnd.has(end)) byEnd.delete(byEnd.keys().next().value!);
      byEnd.set(end, { authorization, entry });
    },
  };
}
