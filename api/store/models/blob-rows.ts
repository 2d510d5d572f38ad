import { and, eq, inArray } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { blobs } from '../schema.ts';

/** Announces a blob before its bytes are written, so that the sweeper finds it whatever happens. */
export async function reserveBlob(q: Queryable, key: string, now: Date): Promise<void> {
  await q.insert(blobs).values({ key, state: 'writing', createdAt: now });
}

/** Makes a written blob live, in the transaction that refers to it. False: the sweeper was faster, write it again. */
export async function settleBlob(tx: Queryable, key: string): Promise<boolean> {
  const rows = await tx
    .update(blobs)
    .set({ state: 'live' })
    .where(and(eq(blobs.key, key), eq(blobs.state, 'writing')))
    .returning({ key: blobs.key });
  return rows.length === 1;
}

/** Gives blobs that nothing refers to any longer to the sweeper. */
export async function retireBlobs(tx: Queryable, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await tx
    .update(blobs)
    .set({ state: 'dead' })
    .where(inArray(blobs.key, [...keys]));
}
