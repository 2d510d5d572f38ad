import { errors, type JWTPayload, jwtVerify } from 'jose';
import type { Logger } from 'pino';
import type { OidcIssuerConfig } from '../../../config.ts';
import type { FindKey, OidcIssuer } from '../../../deps.ts';
import { FedEdgeError } from '../../../domain/errors.ts';
import type { OperatorPrincipal, Role } from '../../../domain/role.ts';
import { createKeySet, type KeySetTiming } from './key-sets.ts';

const CLOCK_TOLERANCE_SECONDS = 5;
/** What ID and access tokens call themselves: not logout tokens, proofs or statements of devices (RFC 8725, 3.11). */
const TYPES: ReadonlySet<unknown> = new Set([undefined, 'jwt', 'at+jwt']);
const SUBJECT = /^[\x20-\x7e]{1,255}$/;

/** The configured issuers by their `iss`. Nothing is fetched yet. */
export function createOidcIssuers(
  settings: readonly OidcIssuerConfig[],
  log: Pick<Logger, 'warn'>,
  timing: Partial<KeySetTiming> = {},
): ReadonlyMap<string, OidcIssuer> {
  return new Map(
    settings.map((issuer) => [
      issuer.issuer,
      { settings: issuer, findKey: createKeySet(issuer, log, timing) },
    ]),
  );
}

/**
 * Verifies a token of a configured issuer: an ID token (OpenID Connect Core 1.0, section 3.1.3.7) or an access token
 * (RFC 9068). Its key comes from the issuer's published set, never from the token. The principal's id,
 * `oidc:ISSUER|SUBJECT`, is what the audit log shows.
 *
 * Throws `unauthorized`, `token_expired`, `forbidden` for a token that gives no role here, and `unavailable` while the
 * issuer's keys were never to be had.
 */
export async function authenticateByIssuer(
  { settings, findKey }: OidcIssuer,
  token: string,
  now: Date,
): Promise<OperatorPrincipal> {
  const claims = await verifyToken(settings, findKey, token, now);
  const { sub } = claims;
  if (typeof sub !== 'string' || !SUBJECT.test(sub)) throw new FedEdgeError('unauthorized');
  const role = findRole(settings, claims);
  if (!role) throw new FedEdgeError('forbidden');
  return { kind: 'operator', id: `oidc:${settings.issuer}|${sub}`, federationId: settings.federation, role };
}

async function verifyToken(
  { issuer, audience, algorithms, maxTokenAgeSeconds }: OidcIssuerConfig,
  findKey: FindKey,
  token: string,
  now: Date,
): Promise<JWTPayload> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, findKey, {
      algorithms: [...algorithms],
      issuer,
      audience,
      requiredClaims: ['iss', 'aud', 'sub', 'iat', 'exp'],
      maxTokenAge: maxTokenAgeSeconds,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: now,
    });
    if (!TYPES.has(protectedHeader.typ?.toLowerCase().replace(/^application\//, ''))) refuse();
    // A token that is bound to a key is none for the bearer (RFC 9449 section 7.2, RFC 8705 section 3).
    if (payload.cnf !== undefined) refuse();
    return payload;
  } catch (cause) {
    if (cause instanceof errors.JWTExpired) throw new FedEdgeError('token_expired', {}, { cause });
    // jose calls a key that it cannot use, such as RSA under 2,048 bits, a TypeError.
    if (cause instanceof errors.JOSEError || cause instanceof TypeError) refuse(cause);
    throw cause;
  }
}

/** The role that the first matching line of the mapping gives. The claim is a list, or words in one string. */
function findRole({ roleClaim, roles }: OidcIssuerConfig, claims: JWTPayload): Role | undefined {
  let value: unknown = claims;
  for (const name of roleClaim) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  const held: unknown[] =
    typeof value === 'string' ? [value, ...value.split(' ')] : Array.isArray(value) ? value : [];
  return roles.find(([name]) => held.includes(name))?.[1];
}

function refuse(cause?: unknown): never {
  throw new FedEdgeError('unauthorized', {}, { cause });
}
