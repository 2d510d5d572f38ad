import type { Connection } from './connections.ts';

/** Does `count` things over so many connections, each taking the next thing when it is done with one; then closes them. */
export async function inParallel(
  connections: number,
  count: number,
  work: (index: number, connection: Connection) => Promise<void>,
  open: (index: number) => Connection,
): Promise<void> {
  let next = 0;
  const lanes = Array.from({ length: Math.min(connections, count) }, async (_, lane) => {
    const connection = open(lane);
    try {
      while (next < count) {
        const index = next;
        next += 1;
        await work(index, connection);
      }
    } finally {
      connection.close();
    }
  });
  await Promise.all(lanes);
}

/** Lets at most so many things happen at once. */
export function createSlots(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let taken = 0;
  return async (work) => {
    if (taken >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else taken += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else taken -= 1;
    }
  };
}
