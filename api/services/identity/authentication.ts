import { errors, type JWTPayload, jwtVerify } from 'jose';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import { type DevicePrincipal, grantsRole, type Policy, type Principal } from '../../domain/role.ts';
import type { Queryable } from '../../store/database.ts';
import { cached, recall } from '../../store/identity/credential-cache.ts';
import { type DeviceKeyRow, prepareKeyStates } from '../../store/identity/device-keys.ts';
import { findOperatorKeyBySecret } from '../../store/identity/operator-keys.ts';
import { type Gatherer, gatherQuestions } from '../rounds/arrivals.ts';
import { readCompactJws } from './compact-jws.ts';
import { authenticateByIssuer } from './oidc/operator-tokens.ts';
import { hashSecret, operatorKeyPattern, secretPrefixes } from './secrets.ts';

export const ACCESS_TOKEN_TYPE = 'at+jwt';
export const ACCESS_TOKEN_SECONDS = 600;
/** Between the clocks of two replicas; callers have to be as exact. */
export const CLOCK_TOLERANCE_SECONDS = 5;

const TOKEN_MS = (ACCESS_TOKEN_SECONDS + 2 * CLOCK_TOLERANCE_SECONDS) * 1000;

const BEARER = /^Bearer +([\w.-]+)$/i;

const THUMBPRINT = /^[\w-]{43}$/;
const FEDERATION = /^[\w.-]{1,100}$/;

/**
 * Reads `Authorization: Bearer ...` and holds it against an operation's policy. An operator key is looked up by its
 * hash; an access token (RFC 9068) needs our signature and a key of its device that is still valid; a token of a
 * configured OpenID Connect issuer needs a signature by that issuer. What was looked up is remembered for 15 s, or until
 * the `credentials` channel says that it changed.
 * Throws `unauthorized`, `token_expired`, `device_revoked`, `unavailable` while an issuer's keys were never to be had, or
 * `forbidden` for valid credentials of the wrong kind or role.
 */
export async function authenticate(
  deps: Deps,
  authorization: string | undefined,
  policy: Exclude<Policy, 'public'>,
): Promise<Principal> {
  const principal = await identify(deps, authorization);
  if (!isAllowed(principal, policy)) throw new FedEdgeError('forbidden');
  return principal;
}

async function identify(deps: Deps, authorization: string | undefined): Promise<Principal> {
  const known = recallToken(deps, authorization, deps.clock.now());
  if (known) return requireHolder(deps, known);
  const token = authorization?.match(BEARER)?.[1];
  if (token === undefined) throw new FedEdgeError('unauthorized');
  return token.startsWith(secretPrefixes.operatorKey)
    ? authenticateOperator(deps, token)
    : authenticateByToken(deps, token);
}

function isAllowed(principal: Principal, policy: Exclude<Policy, 'public'>): boolean {
  if (policy === 'member') return true;
  if (principal.kind === 'device') return policy === 'device';
  return policy !== 'device' && grantsRole(principal.role, policy);
}

async function authenticateOperator(deps: Deps, secret: string): Promise<Principal> {
  if (!operatorKeyPattern.test(secret)) throw new FedEdgeError('unauthorized');
  const secretHash = hashSecret(secret);
  const entry = { key: `operator:${secretHash}`, now: deps.clock.now() };
  const found = await cached(deps.credentials, entry, async () => {
    const key = await findOperatorKeyBySecret(deps.db.pool, secretHash);
    return key && { owner: key.id, federationId: key.federationId, role: key.role };
  });
  if (!found) throw new FedEdgeError('unauthorized');
  return { kind: 'operator', id: found.owner, federationId: found.federationId, role: found.role };
}

/** Whose token it says that it is only chooses the keys that its signature is then held against. */
async function authenticateByToken(deps: Deps, token: string): Promise<Principal> {
  const unverified = readCompactJws(token);
  if (!unverified) throw new FedEdgeError('unauthorized');
  const { iss } = unverified.claims;
  const issuer = iss === deps.publicUrl ? undefined : deps.issuers.get(iss as string);
  return issuer
    ? authenticateByIssuer(issuer, token, deps.clock.now())
    : requireHolder(deps, await readAccessToken(deps, token));
}

/**
 * The device whose access token this is, if all that `authenticate` would look at is remembered and well. Undefined: it
 * has to look, and to say what is wrong.
 */
export function recallDevice(
  deps: Deps,
  authorization: string | undefined,
  now: Date,
): DevicePrincipal | undefined {
  const token = recallToken(deps, authorization, now);
  return token && recallHolder(deps, token, now);
}

function recallHolder(deps: Deps, token: VerifiedToken, now: Date): DevicePrincipal | undefined {
  const key = recall<KnownKey>(deps.credentials, token.keyEntry, now);
  if (key?.owner !== token.owner || key.deviceState !== 'active' || key.state !== 'active') return undefined;
  return principalOf(token);
}

/**
 * The device whose access token this is, if the token is remembered; its key is asked for where what is remembered of it
 * is too old. Undefined: the token has to be looked at. Rejects as `authenticate` does.
 */
export function recognizeDevice(
  deps: Deps,
  authorization: string | undefined,
  now: Date,
): DevicePrincipal | Promise<DevicePrincipal> | undefined {
  const token = recallToken(deps, authorization, now);
  return token && (recallHolder(deps, token, now) ?? requireHolder(deps, token));
}

/** What is remembered of a token that was found to be ours and is still valid: it need not be taken apart again. */
function recallToken(deps: Deps, authorization: string | undefined, now: Date): VerifiedToken | undefined {
  if (authorization === undefined) return undefined;
  const { credentials } = deps;
  const remembered = credentials.tokenEntries.recall(authorization);
  const entry = remembered ?? readTokenEntry(authorization);
  const known = entry === undefined ? undefined : recall<VerifiedToken>(credentials, entry, now);
  if (!known || !isStillValid(deps, known, now)) return undefined;
  if (remembered === undefined) credentials.tokenEntries.keep(authorization, entry!);
  return known;
}

function readTokenEntry(authorization: string): string | undefined {
  const token = BEARER.exec(authorization)?.[1];
  return token === undefined ? undefined : tokenEntry(token);
}

const tokenEntry = (token: string) => `token:${hashSecret(token)}`;

/** The device that a token was given to, if its key is one that devices may use. */
async function requireHolder(deps: Deps, token: VerifiedToken): Promise<DevicePrincipal> {
  const { federationId, owner, thumbprint, keyEntry: id } = token;
  const entry = { key: id, now: deps.clock.now() };
  const key = await cached<KnownKey>(deps.credentials, entry, () =>
    lookUpKey(deps, { id, federationId, thumbprint }),
  );
  if (key?.owner !== owner) throw new FedEdgeError('unauthorized');
  if (key.deviceState === 'revoked') throw new FedEdgeError('device_revoked');
  if (key.state !== 'active' && key.state !== 'next') throw new FedEdgeError('unauthorized');
  return principalOf(token);
}

function principalOf({ federationId, owner: id, thumbprint }: VerifiedToken): DevicePrincipal {
  return { kind: 'device', id, federationId, thumbprint };
}

/** A device's key, as the database has it. */
type KnownKey = { owner: string } & Pick<DeviceKeyRow, 'state' | 'deviceState'>;

type AskedKey = { id: string; federationId: string; thumbprint: string };

/** Thousands of devices may come back within seconds, each after longer than its key is remembered. */
const LOOK_UPS_MS = 5;
const lookUps = new WeakMap<Queryable, Gatherer<AskedKey, KnownKey>>();

function lookUpKey({ db: { pool } }: Deps, asked: AskedKey): Promise<KnownKey | undefined> {
  const lookUp = lookUps.get(pool) ?? gatherQuestions(askKeyStates(pool), { pauseMs: LOOK_UPS_MS });
  lookUps.set(pool, lookUp);
  return lookUp(asked);
}

function askKeyStates(q: Queryable) {
  const findKeyStates = prepareKeyStates(q);
  return async (keys: readonly AskedKey[]): Promise<Map<string, KnownKey>> => {
    const rows = await findKeyStates(keys);
    return new Map(
      rows.map(({ federationId, thumbprint, deviceId, state, deviceState }) => [
        keyEntry(federationId, thumbprint),
        { owner: deviceId, state, deviceState },
      ]),
    );
  };
}

const keyEntry = (federationId: string, thumbprint: string) => `${federationId}:${thumbprint}`;

/** An access token whose signature was found to be ours. */
interface VerifiedToken {
  /** The device. */
  owner: string;
  federationId: string;
  thumbprint: string;
  /** Where the cache has the device's key. */
  keyEntry: string;
  kid: string;
  key: CryptoKey;
  validUntilMs: number;
}

/**
 * A signature costs as much as several queries: that it is ours is remembered, as long as the token may be used, for that
 * does not change. Whether it has expired or our key was withdrawn is looked at every time.
 */
async function readAccessToken(deps: Deps, token: string): Promise<VerifiedToken> {
  const now = deps.clock.now();
  const verify = () => verifyAccessToken(deps, token);
  const entry = { key: tokenEntry(token), now, ttlMs: TOKEN_MS };
  const known = (await cached(deps.credentials, entry, verify))!;
  return isStillValid(deps, known, now) ? known : verify();
}

function isStillValid({ keys }: Deps, { validUntilMs, kid, key }: VerifiedToken, now: Date): boolean {
  return now.getTime() < validUntilMs && keys.verifying.get(kid) === key;
}

async function verifyAccessToken(deps: Deps, token: string): Promise<VerifiedToken> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, ({ kid }) => ownKey(deps, kid), {
      algorithms: ['ES256'],
      issuer: deps.publicUrl,
      audience: deps.publicUrl,
      typ: ACCESS_TOKEN_TYPE,
      requiredClaims: ['iss', 'aud', 'sub', 'client_id', 'iat', 'exp', 'jti', 'federation', 'cnf'],
      maxTokenAge: ACCESS_TOKEN_SECONDS,
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: deps.clock.now(),
    });
    const kid = protectedHeader.kid!;
    const expiresAt = Math.min(payload.exp!, payload.iat! + ACCESS_TOKEN_SECONDS);
    const validUntilMs = (expiresAt + CLOCK_TOLERANCE_SECONDS) * 1000;
    return { ...readClaims(payload), kid, key: ownKey(deps, kid), validUntilMs };
  } catch (cause) {
    if (cause instanceof errors.JWTExpired) throw new FedEdgeError('token_expired', {}, { cause });
    if (cause instanceof errors.JOSEError) throw new FedEdgeError('unauthorized', {}, { cause });
    throw cause;
  }
}

/** The key is one of ours: never one that the token itself brings or points to. */
function ownKey(deps: Deps, kid: string | undefined): CryptoKey {
  const key = kid === undefined ? undefined : deps.keys.verifying.get(kid);
  if (!key) throw new errors.JWKSNoMatchingKey();
  return key;
}

function readClaims(
  claims: JWTPayload,
): Pick<VerifiedToken, 'federationId' | 'owner' | 'thumbprint' | 'keyEntry'> {
  const { sub, federation, cnf } = claims as { sub?: unknown; federation?: unknown; cnf?: { jkt?: unknown } };
  const thumbprint = cnf?.jkt;
  if (typeof sub !== 'string' || typeof federation !== 'string' || typeof thumbprint !== 'string') {
    throw new FedEdgeError('unauthorized');
  }
  if (!THUMBPRINT.test(thumbprint) || !FEDERATION.test(federation)) throw new FedEdgeError('unauthorized');
  return { federationId: federation, owner: sub, thumbprint, keyEntry: keyEntry(federation, thumbprint) };
}
