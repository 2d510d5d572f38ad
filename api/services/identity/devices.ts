import type { Deps } from '../../deps.ts';
import type { DeviceProperties, DeviceState, Labels } from '../../domain/device.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import type { Queryable } from '../../store/database.ts';
import { retireDeviceKeys } from '../../store/identity/device-keys.ts';
import * as store from '../../store/identity/devices.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import { actorOf } from './actors.ts';

export type PropertiesPatch = { [P in keyof DeviceProperties]: DeviceProperties[P] | null };

/** Changes of these alone invite nobody: they move all the time. */
const RESTLESS: ReadonlySet<string> = new Set(['battery', 'charging', 'metered', 'bandwidthKbps']);

export function listDevices(
  deps: Deps,
  principal: Principal,
  input: { state?: DeviceState | undefined; page: Page },
): Promise<store.DeviceRow[]> {
  return store.listDevices(deps.db.pool, principal.federationId, { state: input.state }, input.page);
}

/** Throws `not_found`, also for a device of another federation. */
export async function getDevice(deps: Deps, principal: Principal, id: string): Promise<store.DeviceRow> {
  return found(await store.findDevice(deps.db.pool, principal.federationId, id));
}

/** What a device reports about itself, merged into what it reported before. */
export async function reportProperties(
  deps: Deps,
  principal: Principal,
  patch: PropertiesPatch,
): Promise<store.DeviceRow> {
  return deps.db.transaction(async (tx) => {
    const device = await store.mergeProperties(tx, principal.federationId, principal.id, patch);
    // A round that waits for devices may now find this one eligible.
    if (Object.keys(patch).some((name) => !RESTLESS.has(name))) await notify(tx, channels.work);
    return found(device);
  });
}

/** Sets a device's name and its labels, the whole set of them. Throws `not_found`. */
export async function updateDevice(
  deps: Deps,
  principal: Principal,
  { id, ...change }: { id: string; name?: string | undefined; labels?: Labels | undefined },
): Promise<store.DeviceRow> {
  if (change.name === undefined && change.labels === undefined) return getDevice(deps, principal, id);
  return deps.db.transaction(async (tx) => {
    const device = found(await store.changeDevice(tx, principal.federationId, id, change));
    // Not the name itself, nor the labels: the log outlives the device's erasing.
    await audit(deps, tx, principal, 'device.update', device, { changed: changedFields(change) });
    await notify(tx, channels.work);
    return device;
  });
}

/** Lets a pending device take part. Idempotent. Throws `not_found`; `conflict` for a revoked device. */
export async function approveDevice(deps: Deps, principal: Principal, id: string): Promise<store.DeviceRow> {
  return deps.db.transaction(async (tx) => {
    const device = found(await store.lockDevice(tx, principal.federationId, id));
    if (device.state === 'active') return device;
    const now = deps.clock.now();
    const moved = await store.moveDevice(tx, id, ['pending'], { state: 'active', approvedAt: now });
    if (!moved) throw new FedEdgeError('conflict', { state: device.state });
    await announce(deps, tx, principal, 'device.approve', 'device.approved', moved);
    return moved;
  });
}

/**
 * Ends a device: its keys are refused for ever, its access tokens as soon as a replica hears of it and within 15 s on
 * one that does not. The workers that this wakes expire its open assignments; its accepted updates stay. Idempotent.
 * Throws `not_found`.
 */
export async function revokeDevice(deps: Deps, principal: Principal, id: string): Promise<store.DeviceRow> {
  return deps.db.transaction(async (tx) => {
    const device = found(await store.lockDevice(tx, principal.federationId, id));
    if (device.state === 'revoked') return device;
    const now = deps.clock.now();
    const moved = found(
      await store.moveDevice(tx, id, ['pending', 'active'], { state: 'revoked', revokedAt: now }),
    );
    await retireDeviceKeys(tx, id, { from: ['active', 'next'], to: 'revoked' });
    await announce(deps, tx, principal, 'device.revoke', 'device.revoked', moved);
    await notify(tx, channels.credentials, id);
    await notify(tx, channels.work);
    return moved;
  });
}

function changedFields(change: Record<string, unknown>): string[] {
  return Object.keys(change).filter((name) => change[name] !== undefined);
}

function found<T>(row: T | undefined): T {
  if (row === undefined) throw new FedEdgeError('not_found');
  return row;
}

async function announce(
  deps: Deps,
  tx: Queryable,
  principal: Principal,
  action: string,
  type: string,
  device: store.DeviceRow,
): Promise<void> {
  await audit(deps, tx, principal, action, device, {});
  const { federationId, id } = device;
  await recordEvent(tx, { federationId, type, subject: { device: id }, createdAt: deps.clock.now() });
  await notify(tx, channels.events);
}

async function audit(
  deps: Deps,
  tx: Queryable,
  principal: Principal,
  action: string,
  device: store.DeviceRow,
  details: Record<string, unknown>,
): Promise<void> {
  await recordAudit(tx, {
    federationId: device.federationId,
    actor: actorOf(principal),
    action,
    target: `device:${device.id}`,
    details,
    createdAt: deps.clock.now(),
  });
}
