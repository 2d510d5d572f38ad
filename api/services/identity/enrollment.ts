import type { Deps } from '../../deps.ts';
import type { DeviceProperties } from '../../domain/device.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Queryable } from '../../store/database.ts';
import {
  type DeviceKeyRow,
  findDeviceKey,
  insertDeviceKey,
  lockKey,
} from '../../store/identity/device-keys.ts';
import { insertDevice } from '../../store/identity/devices.ts';
import * as store from '../../store/identity/enrollment-tokens.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import { type DevicePublicKey, readPublicKey } from './device-keys.ts';
import {
  enrollmentTokenHash,
  PROOF_MAX_AGE_SECONDS,
  PROOF_TYPE,
  refuseUntimely,
  verifySigned,
} from './proofs.ts';
import { hashSecret } from './secrets.ts';

export interface Registration {
  enrollmentToken: string;
  key: Record<string, unknown>;
  name: string;
  properties: DeviceProperties;
  /** Compact JWS by the key; see `registerDevice`. */
  proof: string;
}

/** The same for the first registration and for all its repeats. */
export interface Registered {
  id: string;
  federation: string;
  thumbprint: string;
  /** As it was on registration. */
  state: 'pending' | 'active';
  registeredAt: Date;
}

/**
 * Registers a device by its key. The proof is a compact JWS by that key, `typ` `fededge-proof+jwt`, over `aud` (our
 * public URL), `iat`, `jti` and `eth` (base64url SHA-256 of the enrolment token).
 *
 * A repeat with the same key and token gets the first answer, `repeated`, and consumes nothing, even if the token
 * is expired, used up or revoked by then and the proof is old: whoever lost the answer sends the same bytes again.
 * That is why proofs need no memory of their `jti`s: a replayed one reveals what its first sender was told, and
 * registers nothing. A first registration demands a proof of the last 5 minutes.
 *
 * Throws `invalid_key`, `invalid_proof`, `clock_skew`, `enrollment_token_*`, and `key_refused` for a key that was
 * revoked or replaced, or enrolled with another token.
 */
export async function registerDevice(
  deps: Deps,
  registration: Registration,
): Promise<Registered & { repeated: boolean }> {
  const publicKey = await readPublicKey(registration.key);
  const proof = await verifySigned(deps, registration.proof, publicKey, {
    audience: deps.publicUrl,
    typ: PROOF_TYPE,
    claims: ['eth'],
    maxAgeSeconds: PROOF_MAX_AGE_SECONDS,
    refusal: 'invalid_proof',
  });
  if (proof.claims.eth !== enrollmentTokenHash(registration.enrollmentToken)) {
    throw new FedEdgeError('invalid_proof', { reason: 'eth is not the hash of the enrolment token' });
  }
  return deps.db.transaction(async (tx) => {
    const secretHash = hashSecret(registration.enrollmentToken);
    const token = await store.findEnrollmentTokenBySecret(tx, secretHash);
    if (!token) throw new FedEdgeError('enrollment_token_invalid');
    await lockKey(tx, token.federationId, publicKey.thumbprint);
    const known = await findDeviceKey(tx, token.federationId, publicKey.thumbprint);
    if (known) return { ...repeatRegistration(known, token), repeated: true };
    if (!proof.timely) refuseUntimely(deps);
    return { ...(await enrol(tx, deps.clock.now(), token, publicKey, registration)), repeated: false };
  });
}

function repeatRegistration(known: DeviceKeyRow, token: store.EnrollmentTokenRow): Registered {
  const usable = known.state === 'active' && known.deviceState !== 'revoked';
  if (!usable || known.enrollmentTokenId !== token.id) throw new FedEdgeError('key_refused');
  return {
    id: known.deviceId,
    federation: known.federationId,
    thumbprint: known.thumbprint,
    state: token.requiresApproval ? 'pending' : 'active',
    registeredAt: known.deviceCreatedAt,
  };
}

async function enrol(
  tx: Queryable,
  now: Date,
  token: store.EnrollmentTokenRow,
  { jwk, thumbprint }: DevicePublicKey,
  { name, properties }: Registration,
): Promise<Registered> {
  if (!(await store.takeEnrollmentUse(tx, token.id, now))) await refuseToken(tx, token.secretHash, now);
  const { federationId, labels } = token;
  const id = newId(now);
  const state = token.requiresApproval ? 'pending' : 'active';
  const approvedAt = state === 'active' ? now : null;
  await insertDevice(tx, {
    id,
    federationId,
    name,
    state,
    labels,
    properties,
    enrollmentTokenId: token.id,
    createdAt: now,
    approvedAt,
  });
  await insertDeviceKey(tx, { federationId, thumbprint, deviceId: id, jwk, state: 'active', createdAt: now });
  await recordAudit(tx, {
    federationId,
    actor: `device:${id}`,
    action: 'device.register',
    target: `device:${id}`,
    details: { state, thumbprint, enrollmentToken: token.id },
    createdAt: now,
  });
  await recordEvent(tx, {
    federationId,
    type: 'device.registered',
    subject: { device: id, state },
    createdAt: now,
  });
  await notify(tx, channels.events);
  return { id, federation: federationId, thumbprint, state, registeredAt: now };
}

/** No use could be taken: says why. */
async function refuseToken(tx: Queryable, secretHash: string, now: Date): Promise<never> {
  const token = await store.findEnrollmentTokenBySecret(tx, secretHash);
  if (!token || token.revokedAt) throw new FedEdgeError('enrollment_token_invalid');
  if (token.expiresAt <= now) throw new FedEdgeError('enrollment_token_expired');
  throw new FedEdgeError('enrollment_token_used_up');
}
