import { and, eq, gt, inArray, isNull, lt, ne, or, type SQL, sql } from 'drizzle-orm';
import type { DeviceProperties, DeviceState, Labels } from '../../domain/device.ts';
import type { Page } from '../../domain/page.ts';
import type { Queryable } from '../database.ts';
import { devices } from '../schema.ts';

export type DeviceRow = typeof devices.$inferSelect;

/** A device that was touched less than this ago is not touched again. */
const TOUCH_INTERVAL_MS = 20_000;
/** How long ago a device that waits was touched at most: it is looked for every 5 s. */
export const PRESENCE_RESOLUTION_MS = TOUCH_INTERVAL_MS + 5000;

export async function insertDevice(tx: Queryable, device: typeof devices.$inferInsert): Promise<void> {
  await tx.insert(devices).values(device);
}

export async function findDevice(
  q: Queryable,
  federationId: string,
  id: string,
): Promise<DeviceRow | undefined> {
  const rows = await q.select().from(devices).where(isDevice(federationId, id));
  return rows[0];
}

/** The device, locked until the transaction ends: changes of its state and keys wait for each other. */
export async function lockDevice(
  tx: Queryable,
  federationId: string,
  id: string,
): Promise<DeviceRow | undefined> {
  const rows = await tx.select().from(devices).where(isDevice(federationId, id)).for('update');
  return rows[0];
}

/** Devices in the order of their registration, one more than the page takes. */
export function listDevices(
  q: Queryable,
  federationId: string,
  filter: { state?: DeviceState | undefined },
  page: Page,
): Promise<DeviceRow[]> {
  return q
    .select()
    .from(devices)
    .where(
      and(
        eq(devices.federationId, federationId),
        filter.state === undefined ? undefined : eq(devices.state, filter.state),
        page.after === undefined ? undefined : gt(devices.id, page.after),
      ),
    )
    .orderBy(devices.id)
    .limit(page.limit + 1);
}

/** Sets what an operator decides about a device. Undefined: there is no such device. */
export async function changeDevice(
  tx: Queryable,
  federationId: string,
  id: string,
  change: { name?: string | undefined; labels?: Labels | undefined },
): Promise<DeviceRow | undefined> {
  const rows = await tx.update(devices).set(change).where(isDevice(federationId, id)).returning();
  return rows[0];
}

/** Merges what a device reports about itself: null takes a property away (RFC 7396). */
export async function mergeProperties(
  q: Queryable,
  federationId: string,
  id: string,
  patch: { [P in keyof DeviceProperties]: DeviceProperties[P] | null },
): Promise<DeviceRow | undefined> {
  const rows = await q
    .update(devices)
    .set({
      properties: sql`jsonb_strip_nulls(${devices.properties} || ${JSON.stringify(patch)}::text::jsonb)`,
    })
    .where(and(isDevice(federationId, id), ne(devices.state, 'revoked')))
    .returning();
  return rows[0];
}

/** Moves a device from one of the states `from`. Undefined: it was in none of them. */
export async function moveDevice(
  tx: Queryable,
  id: string,
  from: readonly DeviceState[],
  to: { state: 'active'; approvedAt: Date } | { state: 'revoked'; revokedAt: Date },
): Promise<DeviceRow | undefined> {
  const rows = await tx
    .update(devices)
    .set(to)
    .where(and(eq(devices.id, id), inArray(devices.state, [...from])))
    .returning();
  return rows[0];
}

/**
 * Notes that these devices were heard of, in one statement; those of the last 20 s are left alone. The ids are locked
 * in order, so that two replicas that touch the same devices do not wait for each other in a circle.
 */
export async function touchDevices(q: Queryable, ids: readonly string[], now: Date): Promise<void> {
  if (ids.length === 0) return;
  const before = new Date(now.getTime() - TOUCH_INTERVAL_MS);
  const due = q
    .select({ id: devices.id })
    .from(devices)
    .where(
      and(
        sql`${devices.id} = any(${`{${ids.join(',')}}`}::uuid[])`,
        or(isNull(devices.lastSeenAt), lt(devices.lastSeenAt, before)),
      ),
    )
    .orderBy(devices.id)
    .for('no key update', { skipLocked: true });
  await q.update(devices).set({ lastSeenAt: now }).where(inArray(devices.id, due));
}

/** Which of these devices are revoked, or not there any more. */
export async function findRevokedDevices(q: Queryable, ids: readonly string[]): Promise<string[]> {
  if (ids.length === 0) return [];
  const usable = q
    .select({ id: devices.id })
    .from(devices)
    .where(and(sql`${devices.id} = asked.id`, ne(devices.state, 'revoked')));
  const rows = await q.execute<{ id: string }>(
    sql`select asked.id from unnest(${`{${ids.join(',')}}`}::uuid[]) as asked (id) where not exists ${usable}`,
  );
  return rows.map(({ id }) => id);
}

function isDevice(federationId: string, id: string): SQL | undefined {
  return and(eq(devices.id, id), eq(devices.federationId, federationId));
}
