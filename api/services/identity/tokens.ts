import { randomUUID } from 'node:crypto';
import { errors, SignJWT } from 'jose';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Queryable } from '../../store/database.ts';
import {
  activateDeviceKey,
  type DeviceKeyRow,
  listDeviceKeys,
  retireDeviceKeys,
  useAssertion,
} from '../../store/identity/device-keys.ts';
import { lockDevice } from '../../store/identity/devices.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { ACCESS_TOKEN_SECONDS, ACCESS_TOKEN_TYPE } from './authentication.ts';
import { readCompactJws } from './compact-jws.ts';
import { readPublicKey } from './device-keys.ts';
import { NO_JWS, refuseUntimely, type Signed, verifySigned } from './proofs.ts';

const CLIENT_CREDENTIALS = 'client_credentials';
const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const MAX_ASSERTION_SECONDS = 600;
/** A `jti` is remembered a little longer than its assertion is accepted. */
const JTI_GRACE_MS = 60_000;
/** What OAuth libraries say, if anything. A proof of ours is no assertion, though the same key signs both. */
const ASSERTION_TYPES: ReadonlySet<unknown> = new Set([undefined, 'jwt', 'client-authentication+jwt']);
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export interface TokenRequest {
  grantType: string;
  clientAssertionType: string;
  clientAssertion: string;
  clientId?: string | undefined;
}

export interface AccessToken {
  accessToken: string;
  expiresInSeconds: number;
}

/**
 * OAuth 2.0 client credentials with `private_key_jwt` (RFC 6749 section 4.4, RFC 7523 section 2.2). The assertion is
 * signed by a key of the device, `iss` = `sub` = the device's id, `aud` = the token endpoint or our public URL, with
 * `iat`, `exp` (10 minutes later at most) and a `jti` that is taken once: who lost the answer signs again.
 * The first use of a rotated key replaces the old one. The access token follows RFC 9068 and is bound to the key by
 * `cnf.jkt`.
 *
 * Throws `unsupported_grant_type`, `invalid_client`, `clock_skew`, `device_pending`, `device_revoked`.
 */
export async function issueToken(deps: Deps, request: TokenRequest): Promise<AccessToken> {
  if (request.grantType !== CLIENT_CREDENTIALS) throw new FedEdgeError('unsupported_grant_type');
  if (request.clientAssertionType !== JWT_BEARER) refuse('client_assertion_type is not supported');
  const deviceId = readIssuer(request);
  const { key, signed } = await verifyAssertion(deps, deviceId, request.clientAssertion);
  if (!signed.timely) refuseUntimely(deps);
  const { claims } = signed;
  if (claims.exp! - claims.iat > MAX_ASSERTION_SECONDS || claims.exp! <= claims.iat) {
    refuse(`exp has to be at most ${MAX_ASSERTION_SECONDS} s after iat`);
  }
  const taken = await useAssertion(deps.db.pool, {
    thumbprint: key.thumbprint,
    jti: claims.jti,
    expiresAt: new Date(claims.exp! * 1000 + JTI_GRACE_MS),
  });
  if (!taken) refuse('this assertion was used before');
  if (key.deviceState === 'revoked') throw new FedEdgeError('device_revoked');
  if (key.deviceState === 'pending') throw new FedEdgeError('device_pending');
  if (key.state === 'next' || key.firstUsedAt === null) await useKey(deps, key);
  return { accessToken: await signAccessToken(deps, key), expiresInSeconds: ACCESS_TOKEN_SECONDS };
}

/** Who the assertion says it is by: it only chooses the keys that the signature is then held against. */
function readIssuer({ clientAssertion, clientId }: TokenRequest): string {
  const unverified = readCompactJws(clientAssertion);
  if (!unverified) return refuse(NO_JWS);
  const { typ } = unverified.header;
  if (!ASSERTION_TYPES.has(typeof typ === 'string' ? typ.toLowerCase() : typ))
    refuse('typ is not that of an assertion');
  const { iss } = unverified.claims;
  if (typeof iss !== 'string' || !UUID.test(iss)) refuse('iss is not the id of a device');
  if (clientId !== undefined && clientId !== iss) refuse('client_id is not iss');
  return iss;
}

/**
 * Finds which of the device's keys, two at most, has signed. Only who holds such a key learns what else is wrong: to
 * anybody else a device that exists looks like one that does not.
 */
async function verifyAssertion(
  deps: Deps,
  deviceId: string,
  assertion: string,
): Promise<{ key: DeviceKeyRow; signed: Signed }> {
  let refusal = new FedEdgeError('invalid_client', { reason: 'no key of this device has signed it' });
  for (const key of await listDeviceKeys(deps.db.pool, deviceId)) {
    try {
      const signed = await verifySigned(deps, assertion, await readPublicKey(key.jwk), {
        audience: [`${deps.publicUrl}/v1/token`, deps.publicUrl],
        issuer: deviceId,
        subject: deviceId,
        claims: ['exp'],
        maxAgeSeconds: MAX_ASSERTION_SECONDS,
        refusal: 'invalid_client',
      });
      return { key, signed };
    } catch (error) {
      if (!(error instanceof FedEdgeError)) throw error;
      if (!(error.cause instanceof errors.JOSEError) || isAboutClaims(error.cause)) refusal = error;
    }
  }
  throw refusal;
}

/** jose looks at the claims after the signature. */
function isAboutClaims(cause: errors.JOSEError): boolean {
  return cause instanceof errors.JWTClaimValidationFailed || cause instanceof errors.JWTExpired;
}

async function useKey(deps: Deps, key: DeviceKeyRow): Promise<void> {
  await deps.db.transaction(async (tx) => {
    // Against a revocation or another rotation: they lock the device too.
    await lockDevice(tx, key.federationId, key.deviceId);
    const now = deps.clock.now();
    if (!(await activateDeviceKey(tx, key, now))) refuse('the key is no longer valid');
    if (key.state === 'next') await replaceOldKey(tx, key, now);
  });
}

async function replaceOldKey(tx: Queryable, key: DeviceKeyRow, now: Date): Promise<void> {
  const { federationId, deviceId, thumbprint } = key;
  await retireDeviceKeys(tx, deviceId, { from: ['active'], to: 'replaced', except: thumbprint });
  await recordAudit(tx, {
    federationId,
    actor: `device:${deviceId}`,
    action: 'device.replace_key',
    target: `device:${deviceId}`,
    details: { thumbprint },
    createdAt: now,
  });
  await notify(tx, channels.credentials, deviceId);
}

function signAccessToken({ keys, publicUrl, clock }: Deps, key: DeviceKeyRow): Promise<string> {
  const { kid, algorithm, key: signingKey } = keys.signing;
  const issuedAt = Math.floor(clock.now().getTime() / 1000);
  return new SignJWT({
    client_id: key.deviceId,
    federation: key.federationId,
    cnf: { jkt: key.thumbprint },
  })
    .setProtectedHeader({ alg: algorithm, kid, typ: ACCESS_TOKEN_TYPE })
    .setIssuer(publicUrl)
    .setAudience(publicUrl)
    .setSubject(key.deviceId)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + ACCESS_TOKEN_SECONDS)
    .setJti(randomUUID())
    .sign(signingKey);
}

function refuse(reason: string): never {
  throw new FedEdgeError('invalid_client', { reason });
}
