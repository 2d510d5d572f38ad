import { createHash } from 'node:crypto';
import type { Deps } from '../../deps.ts';
import {
  bucketOf,
  followsHeadAtOnce,
  type ReleaseStand,
  saltOf,
  settledVersion,
  versionFor,
} from '../../domain/release.ts';
import type { Principal } from '../../domain/role.ts';
import { findDevice } from '../../store/identity/devices.ts';
import type { ModelSummaryRow } from '../../store/models/models.ts';
import { findActiveRelease, type ReleaseRow } from '../../store/releases/releases.ts';

/** Which version of a model somebody is to use. */
export interface Decision {
  /** Null: none. */
  version: number | null;
  /** The release that decided; undefined: there is none, so that it is the head. */
  release: ReleaseRow | undefined;
}

/** What the model's release decides for a caller; without one the head is for everybody. */
export async function decideVersion(
  { db }: Pick<Deps, 'db'>,
  principal: Principal,
  model: Pick<ModelSummaryRow, 'federationId' | 'name' | 'head'>,
): Promise<Decision> {
  const release = await findActiveRelease(db.pool, model.federationId, model.name);
  if (!release) return { version: model.head, release };
  const isStopped = release.state === 'paused' || release.state === 'halted';
  const isHead = !isStopped && followsHeadAtOnce(release.document);
  const stand: ReleaseStand = isHead ? { ...release, state: 'complete', version: model.head } : release;
  if (principal.kind === 'operator') return { version: settledVersion(stand), release };
  const device = await findDevice(db.pool, principal.federationId, principal.id);
  const bucket = deviceBucket(saltOf(release.document, release.digest), principal.id);
  return { version: versionFor(stand, { labels: device?.labels ?? {}, bucket }), release };
}

/** Where among 10,000 a device stands under a salt: the same always, unrelated between salts. */
export function deviceBucket(salt: string, deviceId: string): number {
  return bucketOf(createHash('sha256').update(`${salt}:${deviceId}`).digest());
}
