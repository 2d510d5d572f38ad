import { and, asc, count, eq, gt, inArray, lt, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { retireBlobs, settleBlob } from '../models/blob-rows.ts';
import { uploadParts, uploads } from '../schema.ts';

export type UploadRow = typeof uploads.$inferSelect;
export type UploadPartRow = typeof uploadParts.$inferSelect;

export async function insertUpload(tx: Queryable, upload: typeof uploads.$inferInsert): Promise<void> {
  await tx.insert(uploads).values(upload);
}

/** A device's own upload that has not expired. */
export async function findUpload(
  q: Queryable,
  owner: { federationId: string; deviceId: string },
  id: string,
  now: Date,
): Promise<UploadRow | undefined> {
  const rows = await q
    .select()
    .from(uploads)
    .where(
      and(
        eq(uploads.id, id),
        eq(uploads.federationId, owner.federationId),
        eq(uploads.deviceId, owner.deviceId),
        gt(uploads.expiresAt, now),
      ),
    );
  return rows[0];
}

/**
 * Appends a written part: the offset moves from the part's start to its end in one UPDATE, so of several parts that
 * were sent for the same start one is taken. An upload that reaches its length by a request that says so is complete.
 * False: the offset is elsewhere, the upload is complete or gone; nothing may be committed.
 */
export async function appendPart(
  tx: Queryable,
  part: UploadPartRow & { completes: boolean; now: Date },
): Promise<boolean> {
  const { uploadId, start, bytes, blobKey, completes, now } = part;
  const rows = await tx
    .update(uploads)
    .set({ offset: start + bytes, complete: completes })
    .where(
      and(
        eq(uploads.id, uploadId),
        eq(uploads.offset, start),
        eq(uploads.complete, false),
        sql`${uploads.bytes} >= ${start + bytes}`,
        gt(uploads.expiresAt, now),
      ),
    )
    .returning({ id: uploads.id });
  if (rows.length === 0 || !(await settleBlob(tx, blobKey))) return false;
  await tx.insert(uploadParts).values({ uploadId, start, bytes, blobKey });
  return true;
}

/** Marks an upload complete that has all its bytes and awaits nothing but that word. */
export async function completeUpload(q: Queryable, id: string): Promise<boolean> {
  const rows = await q
    .update(uploads)
    .set({ complete: true })
    .where(and(eq(uploads.id, id), eq(uploads.offset, uploads.bytes)))
    .returning({ id: uploads.id });
  return rows.length === 1;
}

/** An upload's parts in order. */
export function listParts(q: Queryable, uploadId: string): Promise<UploadPartRow[]> {
  return q
    .select()
    .from(uploadParts)
    .where(eq(uploadParts.uploadId, uploadId))
    .orderBy(asc(uploadParts.start));
}

export async function countParts(q: Queryable, uploadId: string): Promise<number> {
  const rows = await q.select({ parts: count() }).from(uploadParts).where(eq(uploadParts.uploadId, uploadId));
  return rows[0]?.parts ?? 0;
}

/** Gives the parts of an upload to the sweeper; the upload stays and remembers that it was complete. */
export async function retireParts(tx: Queryable, uploadId: string): Promise<void> {
  const parts = await tx
    .delete(uploadParts)
    .where(eq(uploadParts.uploadId, uploadId))
    .returning({ blobKey: uploadParts.blobKey });
  await retireBlobs(
    tx,
    parts.map(({ blobKey }) => blobKey),
  );
}

/** Ends uploads with all that they hold. The rows are locked first, so that a part that is being appended comes before or not at all. */
export async function removeUploads(tx: Queryable, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx
    .select({ id: uploads.id })
    .from(uploads)
    .where(inArray(uploads.id, [...ids]))
    .orderBy(uploads.id)
    .for('update');
  for (const id of ids) await retireParts(tx, id);
  await tx.delete(uploads).where(inArray(uploads.id, [...ids]));
}

/** The uploads that a device began for an assignment. */
export async function listUploadIds(tx: Queryable, assignmentId: string): Promise<string[]> {
  const rows = await tx
    .select({ id: uploads.id })
    .from(uploads)
    .where(eq(uploads.assignmentId, assignmentId))
    .orderBy(uploads.id);
  return rows.map(({ id }) => id);
}

/** Removes at most `limit` expired uploads that no other worker has in hand; returns how many. */
export async function removeExpiredUploads(tx: Queryable, now: Date, limit: number): Promise<number> {
  const rows = await tx
    .select({ id: uploads.id })
    .from(uploads)
    .where(lt(uploads.expiresAt, now))
    .orderBy(uploads.expiresAt)
    .limit(limit)
    .for('update', { skipLocked: true });
  await removeUploads(
    tx,
    rows.map(({ id }) => id),
  );
  return rows.length;
}
