import { and, eq, inArray, ne, sql } from 'drizzle-orm';
import type { DeviceState, KeyState } from '../../domain/device.ts';
import type { Queryable } from '../database.ts';
import { deviceKeys, devices, usedAssertions } from '../schema.ts';

const keyFields = {
  federationId: deviceKeys.federationId,
  thumbprint: deviceKeys.thumbprint,
  jwk: deviceKeys.jwk,
  state: deviceKeys.state,
  createdAt: deviceKeys.createdAt,
  firstUsedAt: deviceKeys.firstUsedAt,
  deviceId: devices.id,
  deviceState: devices.state,
  deviceCreatedAt: devices.createdAt,
  enrollmentTokenId: devices.enrollmentTokenId,
} as const;

export interface DeviceKeyRow {
  federationId: string;
  thumbprint: string;
  jwk: Record<string, string>;
  state: KeyState;
  createdAt: Date;
  firstUsedAt: Date | null;
  deviceId: string;
  deviceState: DeviceState;
  deviceCreatedAt: Date;
  enrollmentTokenId: string | null;
}

/**
 * Registrations and rotations that bring the same key wait for each other until the transaction ends, so that the
 * second one finds what the first one wrote. Taken before any row lock.
 */
export async function lockKey(tx: Queryable, federationId: string, thumbprint: string): Promise<void> {
  await tx.execute(
    sql`select pg_advisory_xact_lock(hashtextextended(${`device-key:${federationId}:${thumbprint}`}, 0))`,
  );
}

/** The key, whatever its state, with its device. */
export async function findDeviceKey(
  q: Queryable,
  federationId: string,
  thumbprint: string,
): Promise<DeviceKeyRow | undefined> {
  const rows = await q
    .select(keyFields)
    .from(deviceKeys)
    .innerJoin(devices, eq(devices.id, deviceKeys.deviceId))
    .where(and(eq(deviceKeys.federationId, federationId), eq(deviceKeys.thumbprint, thumbprint)));
  return rows[0];
}

/** What a request needs of the key that it was signed with. */
export type KeyStateRow = Pick<
  DeviceKeyRow,
  'federationId' | 'thumbprint' | 'state' | 'deviceId' | 'deviceState'
>;

type AskedKeys = readonly Pick<DeviceKeyRow, 'federationId' | 'thumbprint'>[];

/** Of these keys those that there are, asked for by a statement that is written once: devices' requests need it. */
export function prepareKeyStates(q: Queryable): (keys: AskedKeys) => Promise<KeyStateRow[]> {
  const { federationId, thumbprint, state, deviceId, deviceState } = keyFields;
  const query = q
    .select({ federationId, thumbprint, state, deviceId, deviceState })
    .from(deviceKeys)
    .innerJoin(devices, eq(devices.id, deviceKeys.deviceId))
    .where(
      sql`(${deviceKeys.federationId}, ${deviceKeys.thumbprint}) in (select * from
        unnest(${sql.placeholder('federationIds')}::text[], ${sql.placeholder('thumbprints')}::text[]))`,
    )
    .prepare('key_states');
  return (keys) =>
    query.execute({
      federationIds: toArray(keys.map((key) => key.federationId)),
      thumbprints: toArray(keys.map((key) => key.thumbprint)),
    });
}

const toArray = (texts: readonly string[]) => `{${texts.map((text) => JSON.stringify(text)).join(',')}}`;

/** The keys of a device that were not replaced: at most its active and its next one, or those it was revoked with. */
export function listDeviceKeys(q: Queryable, deviceId: string): Promise<DeviceKeyRow[]> {
  return q
    .select(keyFields)
    .from(deviceKeys)
    .innerJoin(devices, eq(devices.id, deviceKeys.deviceId))
    .where(and(eq(deviceKeys.deviceId, deviceId), ne(deviceKeys.state, 'replaced')));
}

export async function insertDeviceKey(tx: Queryable, key: typeof deviceKeys.$inferInsert): Promise<void> {
  await tx.insert(deviceKeys).values(key);
}

/** Ends the use of a device's keys in the states `from`; `except` stays. They are refused for ever. */
export async function retireDeviceKeys(
  tx: Queryable,
  deviceId: string,
  change: { from: readonly KeyState[]; to: 'replaced' | 'revoked'; except?: string },
): Promise<number> {
  const rows = await tx
    .update(deviceKeys)
    .set({ state: change.to })
    .where(
      and(
        eq(deviceKeys.deviceId, deviceId),
        inArray(deviceKeys.state, [...change.from]),
        change.except === undefined ? undefined : ne(deviceKeys.thumbprint, change.except),
      ),
    )
    .returning({ thumbprint: deviceKeys.thumbprint });
  return rows.length;
}

/** A key becomes the device's active one by its first use. False: it is no longer valid. */
export async function activateDeviceKey(tx: Queryable, key: DeviceKeyRow, now: Date): Promise<boolean> {
  const rows = await tx
    .update(deviceKeys)
    .set({ state: 'active', firstUsedAt: sql`coalesce(${deviceKeys.firstUsedAt}, ${now.toISOString()})` })
    .where(
      and(
        eq(deviceKeys.federationId, key.federationId),
        eq(deviceKeys.thumbprint, key.thumbprint),
        inArray(deviceKeys.state, ['active', 'next']),
      ),
    )
    .returning({ thumbprint: deviceKeys.thumbprint });
  return rows.length > 0;
}

/** Takes the `jti` of an assertion once (RFC 7523 section 3). False: it was taken before. */
export async function useAssertion(
  tx: Queryable,
  assertion: typeof usedAssertions.$inferInsert,
): Promise<boolean> {
  const rows = await tx
    .insert(usedAssertions)
    .values(assertion)
    .onConflictDoNothing()
    .returning({ jti: usedAssertions.jti });
  return rows.length > 0;
}
