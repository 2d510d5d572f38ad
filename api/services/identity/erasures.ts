import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Principal } from '../../domain/role.ts';
import { type DeviceRow, findDevice } from '../../store/identity/devices.ts';
import {
  listErasable,
  listUploadsOf,
  pseudonymise,
  releaseUpdates,
  requestErasure,
} from '../../store/identity/erasures.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import { retireBlobs } from '../../store/models/blob-rows.ts';
import { removeReports } from '../../store/releases/reports.ts';
import { removeUploads } from '../../store/rounds/uploads.ts';
import { actorOf } from './actors.ts';
import { revokeDevice } from './devices.ts';

const BATCH = 100;

/**
 * Asks that a device be erased: it is revoked now; a worker deletes its files and what describes it as soon as no round
 * that it has a part in is open. A repeat changes nothing. Throws `not_found`.
 */
export async function eraseDevice(deps: Deps, principal: Principal, id: string): Promise<DeviceRow> {
  await revokeDevice(deps, principal, id);
  await deps.db.transaction(async (tx) => {
    const now = deps.clock.now();
    const device = await requestErasure(tx, id, now);
    if (!device) return;
    await recordAudit(tx, {
      federationId: device.federationId,
      actor: actorOf(principal),
      action: 'device.erase',
      target: `device:${id}`,
      details: {},
      createdAt: now,
    });
    await notify(tx, channels.work);
  });
  const device = await findDevice(deps.db.pool, principal.federationId, id);
  if (!device) throw new FedEdgeError('not_found');
  return device;
}

/** Erases the devices that can be: each in one transaction, so that any number of workers may try. How many. */
export async function eraseDueDevices(deps: Deps): Promise<number> {
  const due = await listErasable(deps.db.pool, BATCH);
  for (const { id, federationId } of due) await erase(deps, id, federationId);
  return due.length;
}

async function erase({ db, clock }: Deps, id: string, federationId: string): Promise<void> {
  await db.transaction(async (tx) => {
    const now = clock.now();
    if (!(await pseudonymise(tx, id, now))) return;
    // Those of open rounds are not among them: a revoked device gets no assignment any more.
    await retireBlobs(tx, await releaseUpdates(tx, id));
    await removeUploads(tx, await listUploadsOf(tx, id));
    await removeReports(tx, id);
    await recordAudit(tx, {
      federationId,
      actor: 'system',
      action: 'device.erased',
      target: `device:${id}`,
      details: {},
      createdAt: now,
    });
    await recordEvent(tx, { federationId, type: 'device.erased', subject: { device: id }, createdAt: now });
    await notify(tx, channels.events);
  });
}
