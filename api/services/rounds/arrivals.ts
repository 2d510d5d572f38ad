import { setTimeout as sleep } from 'node:timers/promises';

/** Answers a key, together with others. */
export type Gatherer<K, V> = (key: K) => Promise<V | undefined>;

/**
 * Answers one key by one question to many: keys that come while a question is under way share the next one. Where `ask`
 * throws, all whom it asked for get the error. `pauseMs`: between two questions, so that a crowd asks few.
 */
export function gatherQuestions<K extends { id: string }, V>(
  ask: (keys: readonly K[]) => Promise<ReadonlyMap<string, V>>,
  { pauseMs = 0 }: { pauseMs?: number } = {},
): Gatherer<K, V> {
  let underWay: Promise<unknown> = Promise.resolve();
  let next: { keys: Map<string, K>; answer: Promise<ReadonlyMap<string, V>> } | undefined;

  function begin() {
    const keys = new Map<string, K>();
    const answer = underWay.then(() => {
      next = undefined;
      return ask([...keys.values()]);
    });
    underWay = answer.catch(() => undefined).then(() => (pauseMs > 0 ? sleep(pauseMs) : undefined));
    return { keys, answer };
  }

  return async (key) => {
    next ??= begin();
    next.keys.set(key.id, key);
    return (await next.answer).get(key.id);
  };
}
