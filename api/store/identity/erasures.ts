import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Queryable } from '../database.ts';
import { assignments, deviceKeys, devices, rounds, updates, uploads } from '../schema.ts';
import type { DeviceRow } from './devices.ts';

/** Notes that a revoked device is to be erased. Undefined: that was noted before. */
export async function requestErasure(tx: Queryable, id: string, now: Date): Promise<DeviceRow | undefined> {
  const rows = await tx
    .update(devices)
    .set({ eraseRequestedAt: now })
    .where(and(eq(devices.id, id), isNull(devices.eraseRequestedAt)))
    .returning();
  return rows[0];
}

/** Devices that are to be erased and have no part in a round that is not over. */
export async function listErasable(
  q: Queryable,
  limit: number,
): Promise<{ id: string; federationId: string }[]> {
  const busy = sql`exists (select 1 from ${assignments} join ${rounds} on ${rounds.id} = ${assignments.roundId}
    where ${assignments.deviceId} = ${devices.id} and ${rounds.state} in ('pending', 'collecting', 'aggregating'))`;
  return q
    .select({ id: devices.id, federationId: devices.federationId })
    .from(devices)
    .where(sql`${devices.eraseRequestedAt} is not null and ${devices.erasedAt} is null and not ${busy}`)
    .orderBy(devices.id)
    .limit(limit);
}

/**
 * Leaves of a device what says nothing about it but that it was there: an id, states and times. Its keys stay as
 * thumbprints, so that they are refused for ever. False: it is erased already.
 */
export async function pseudonymise(tx: Queryable, id: string, now: Date): Promise<boolean> {
  const rows = await tx
    .update(devices)
    .set({ name: 'erased', labels: {}, properties: {}, lastSeenAt: null, erasedAt: now })
    .where(and(eq(devices.id, id), isNull(devices.erasedAt)))
    .returning({ id: devices.id });
  if (rows.length === 0) return false;
  await tx.update(deviceKeys).set({ jwk: {}, state: 'replaced' }).where(eq(deviceKeys.deviceId, id));
  return true;
}

/** Ends the keeping of a device's files and forgets what it measured; the keys of the files. */
export async function releaseUpdates(tx: Queryable, deviceId: string): Promise<string[]> {
  const rows = await tx
    .update(updates)
    .set({ retainedUntil: null, metrics: {} })
    .where(eq(updates.deviceId, deviceId))
    .returning({ blobKey: updates.blobKey });
  return rows.map(({ blobKey }) => blobKey);
}

export async function listUploadsOf(tx: Queryable, deviceId: string): Promise<string[]> {
  const rows = await tx
    .select({ id: uploads.id })
    .from(uploads)
    .where(eq(uploads.deviceId, deviceId))
    .orderBy(uploads.id);
  return rows.map(({ id }) => id);
}
