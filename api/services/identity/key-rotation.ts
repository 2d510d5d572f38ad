import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import type { Queryable } from '../../store/database.ts';
import {
  type DeviceKeyRow,
  findDeviceKey,
  insertDeviceKey,
  lockKey,
  retireDeviceKeys,
} from '../../store/identity/device-keys.ts';
import { lockDevice } from '../../store/identity/devices.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { actorOf } from './actors.ts';
import { type DevicePublicKey, readPublicKey } from './device-keys.ts';
import { PROOF_MAX_AGE_SECONDS, PROOF_TYPE, refuseUntimely, verifySigned } from './proofs.ts';

export interface Rotation {
  key: Record<string, unknown>;
  /** By the key that the access token is bound to. */
  proof: string;
  /** By the new key. */
  possession: string;
}

export interface RotatedKey {
  thumbprint: string;
  /** `next` until its first use at the token endpoint, which replaces the old key. */
  state: 'next' | 'active';
  createdAt: Date;
}

/**
 * Gives a device its next key. Both proofs are compact JWS, `typ` `fededge-proof+jwt`, over `aud` (our public URL),
 * `iat`, `jti`, `sub` (the device) and `jkt` (the new key's thumbprint): one by the old key, one by the new. Both keys
 * work until the new one's first use; a rotation to yet another key before that replaces the unused one.
 *
 * A repeat gets the same answer and changes nothing, so a replayed proof does no harm; nor does it revive a key.
 * Throws `invalid_key`, `invalid_proof`, `clock_skew`, and `key_refused` for a key that was registered before.
 */
export async function rotateKey(
  deps: Deps,
  principal: DevicePrincipal,
  rotation: Rotation,
): Promise<RotatedKey> {
  const next = await readPublicKey(rotation.key);
  const current = await findDeviceKey(deps.db.pool, principal.federationId, principal.thumbprint);
  if (!current) throw new FedEdgeError('unauthorized');
  await verifyProof(deps, principal, rotation.possession, next, next.thumbprint);
  // After the new key's first use it is the token's own: a late repeat, whose old key is gone.
  if (current.thumbprint !== next.thumbprint) {
    const old = await readPublicKey(current.jwk);
    await verifyProof(deps, principal, rotation.proof, old, next.thumbprint);
  }
  return deps.db.transaction(async (tx) => {
    await lockKey(tx, principal.federationId, next.thumbprint);
    const device = await lockDevice(tx, principal.federationId, principal.id);
    if (device?.state !== 'active') throw new FedEdgeError('device_revoked');
    const known = await findDeviceKey(tx, principal.federationId, next.thumbprint);
    if (known) return repeatRotation(principal, known);
    await requireValid(tx, principal);
    return addNextKey(deps, tx, principal, next);
  });
}

async function verifyProof(
  deps: Deps,
  principal: DevicePrincipal,
  proof: string,
  key: DevicePublicKey,
  thumbprint: string,
): Promise<void> {
  const signed = await verifySigned(deps, proof, key, {
    audience: deps.publicUrl,
    typ: PROOF_TYPE,
    subject: principal.id,
    claims: ['jkt'],
    maxAgeSeconds: PROOF_MAX_AGE_SECONDS,
    refusal: 'invalid_proof',
  });
  if (signed.claims.jkt !== thumbprint) {
    throw new FedEdgeError('invalid_proof', { reason: 'jkt is not the thumbprint of the new key' });
  }
  if (!signed.timely) refuseUntimely(deps);
}

function repeatRotation(principal: DevicePrincipal, known: DeviceKeyRow): RotatedKey {
  const mine = known.deviceId === principal.id;
  if (!mine || (known.state !== 'next' && known.state !== 'active')) throw new FedEdgeError('key_refused');
  return { thumbprint: known.thumbprint, state: known.state, createdAt: known.createdAt };
}

/** The signing key may have been replaced since the request was authenticated; the device's lock settles it. */
async function requireValid(tx: Queryable, principal: DevicePrincipal): Promise<void> {
  const signing = await findDeviceKey(tx, principal.federationId, principal.thumbprint);
  if (signing?.state !== 'active') throw new FedEdgeError('unauthorized');
}

async function addNextKey(
  deps: Deps,
  tx: Queryable,
  { federationId, id, ...principal }: DevicePrincipal,
  { jwk, thumbprint }: DevicePublicKey,
): Promise<RotatedKey> {
  const now = deps.clock.now();
  await retireDeviceKeys(tx, id, { from: ['next'], to: 'replaced' });
  await insertDeviceKey(tx, { federationId, thumbprint, deviceId: id, jwk, state: 'next', createdAt: now });
  await recordAudit(tx, {
    federationId,
    actor: actorOf({ federationId, id, ...principal }),
    action: 'device.rotate_key',
    target: `device:${id}`,
    details: { thumbprint },
    createdAt: now,
  });
  return { thumbprint, state: 'next', createdAt: now };
}
