import { and, desc, eq, inArray, min, sql } from 'drizzle-orm';
import type { StoreRecord } from '../blobs/marked-blobs.ts';
import type { Queryable } from '../database.ts';
import { blobs, federations } from '../schema.ts';

/** Announces a blob before its bytes are written, so that the sweeper finds it whatever happens. */
export function reserveBlob(q: Queryable, key: string, now: Date): Promise<void> {
  return reserveBlobs(q, [key], now);
}

export async function reserveBlobs(q: Queryable, keys: readonly string[], now: Date): Promise<void> {
  await q.execute(sql`
    insert into ${blobs} (key, state, created_at)
    select key, 'writing', ${now.toISOString()}::timestamptz from unnest(${`{${keys.join(',')}}`}::text[]) as key`);
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

/**
 * Gives a blob to the sweeper whose writer has failed and ended: what it wrote to may be used for another at once. Not one
 * that is live: then its transaction was committed, and only the answer was lost.
 */
export async function abandonBlob(q: Queryable, key: string): Promise<void> {
  await q
    .update(blobs)
    .set({ state: 'dead' })
    .where(and(eq(blobs.key, key), eq(blobs.state, 'writing')));
}

/** Gives blobs that nothing refers to any longer to the sweeper. */
export async function retireBlobs(tx: Queryable, keys: readonly string[]): Promise<void> {
  if (keys.length === 0) return;
  await tx
    .update(blobs)
    .set({ state: 'dead' })
    .where(inArray(blobs.key, [...keys]));
}

const SAMPLE = 5;

/** How to know the blob store of this database: it came into being with the first federation. */
export function recordOfStore(q: Queryable): StoreRecord {
  return {
    async marker() {
      const [found] = await q.select({ createdAt: min(federations.createdAt) }).from(federations);
      if (!found?.createdAt) throw new Error('there is no federation whose blobs these could be');
      return `store/${found.createdAt.getTime()}`;
    },
    async sample() {
      const rows = await q
        .select({ key: blobs.key })
        .from(blobs)
        .where(eq(blobs.state, 'live'))
        .orderBy(desc(blobs.createdAt))
        .limit(SAMPLE);
      return rows.map(({ key }) => key);
    },
  };
}
