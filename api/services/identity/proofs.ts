import { createHash } from 'node:crypto';
import { errors, type JWTPayload, jwtVerify } from 'jose';
import type { Deps } from '../../deps.ts';
import { FedEdgeError, type ProblemCode } from '../../domain/errors.ts';
import { CLOCK_TOLERANCE_SECONDS } from './authentication.ts';
import { readCompactJws } from './compact-jws.ts';
import type { DevicePublicKey } from './device-keys.ts';

export const PROOF_TYPE = 'fededge-proof+jwt';
export const PROOF_MAX_AGE_SECONDS = 300;
export const NO_JWS = 'it is no JWS of at most 4 KiB, in canonical base64url, with unique names and no crit';
const JTI = /^[\x21-\x7e]{8,128}$/;

interface Expected {
  audience: string | string[];
  /** Claims that have to be there, beside `aud`, `iat` and `jti`. */
  claims: string[];
  typ?: string;
  issuer?: string;
  subject?: string;
  maxAgeSeconds: number;
  /** What a signature or claim that does not hold is called. */
  refusal: Extract<ProblemCode, 'invalid_proof' | 'invalid_client'>;
}

export type Signed =
  | { timely: true; claims: JWTPayload & { jti: string; iat: number } }
  /** All holds but the time: the caller's clock is off, or the statement is old. */
  | { timely: false; claims: JWTPayload };

/**
 * Verifies what a device has signed with a key that we know. The key is the given one, never one that the statement
 * brings or points to. Throws `expected.refusal` with a `reason` if anything but the time does not hold.
 */
export async function verifySigned(
  deps: Pick<Deps, 'clock'>,
  statement: string,
  { key, algorithms }: Pick<DevicePublicKey, 'key' | 'algorithms'>,
  expected: Expected,
): Promise<Signed> {
  const { refusal } = expected;
  if (!readCompactJws(statement)) throw new FedEdgeError(refusal, { reason: NO_JWS });
  try {
    const { payload } = await jwtVerify(statement, key, {
      algorithms,
      audience: expected.audience,
      ...(expected.typ === undefined ? {} : { typ: expected.typ }),
      ...(expected.issuer === undefined ? {} : { issuer: expected.issuer }),
      ...(expected.subject === undefined ? {} : { subject: expected.subject }),
      requiredClaims: ['aud', 'iat', 'jti', ...expected.claims],
      maxTokenAge: expected.maxAgeSeconds,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: deps.clock.now(),
    });
    const { jti } = payload;
    if (typeof jti !== 'string' || !JTI.test(jti)) {
      throw new FedEdgeError(refusal, { reason: 'jti has to have 8 to 128 printable ASCII characters' });
    }
    return { timely: true, claims: payload as JWTPayload & { jti: string; iat: number } };
  } catch (error) {
    const claims = untimelyClaims(error);
    if (claims) return { timely: false, claims };
    if (error instanceof errors.JOSEError) {
      throw new FedEdgeError(refusal, { reason: error.message }, { cause: error });
    }
    throw error;
  }
}

/** Throws `clock_skew` with our time, so that a device without a clock can set one by it. */
export function refuseUntimely(deps: Pick<Deps, 'clock'>): never {
  throw new FedEdgeError('clock_skew', { serverTime: deps.clock.now().toISOString() });
}

/** The base64url SHA-256 of an enrolment token: the proof's claim `eth`. */
export function enrollmentTokenHash(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}

/** jose looks at the time last: an error about it says that the signature and all other claims hold. */
function untimelyClaims(error: unknown): JWTPayload | undefined {
  if (error instanceof errors.JWTExpired) return error.payload;
  const late = error instanceof errors.JWTClaimValidationFailed && error.reason === 'check_failed';
  return late && (error.claim === 'iat' || error.claim === 'nbf') ? error.payload : undefined;
}
