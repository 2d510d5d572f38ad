import { createRemoteJWKSet, customFetch, errors, type FetchImplementation } from 'jose';
import type { Logger } from 'pino';
import type { OidcIssuerConfig } from '../../../config.ts';
import type { FindKey } from '../../../deps.ts';
import { FedEdgeError } from '../../../domain/errors.ts';
import { discoverKeys, fetchSmall } from './discovery.ts';

export interface KeySetTiming {
  /** Milliseconds that only grow. */
  now(): number;
  /** An issuer that is slower counts as down. */
  timeoutMs: number;
  /** Between two attempts to fetch, whatever tokens ask for. */
  cooldownMs: number;
  /** Older keys are fetched again, behind the request that finds them old. */
  refreshMs: number;
  /** Keys of an issuer that is down are used for so long. */
  keepMs: number;
}

const defaults: KeySetTiming = {
  now: () => performance.now(),
  timeoutMs: 3000,
  cooldownMs: 5000,
  refreshMs: 10 * 60_000,
  keepMs: 24 * 60 * 60_000,
};

/**
 * The published keys of one issuer (RFC 7517), from where the configuration says and nowhere else. They are fetched when
 * first needed, every 10 minutes while tokens come, and for a `kid` that is not among them, at most every 5 s: so an
 * issuer may change its keys at any time. If it is down, those that we have go on for a day. The function throws
 * JWKSNoMatchingKey for a `kid` that it does not publish, and `unavailable` while we have no keys at all.
 */
export function createKeySet(
  { issuer, jwksUri }: Pick<OidcIssuerConfig, 'issuer' | 'jwksUri'>,
  log: Pick<Logger, 'warn'>,
  timing: Partial<KeySetTiming> = {},
): FindKey {
  const { now, timeoutMs, cooldownMs, refreshMs, keepMs } = { ...defaults, ...timing };
  const fetchKeys: FetchImplementation = async (_url, options) =>
    fetchSmall(jwksUri ?? (await discoverKeys(issuer, options)), options);
  const remote = createRemoteJWKSet(new URL(jwksUri ?? issuer), {
    timeoutDuration: timeoutMs,
    // When to fetch again is decided below: jose would stop with keys that it cannot renew.
    cooldownDuration: Number.POSITIVE_INFINITY,
    cacheMaxAge: Number.POSITIVE_INFINITY,
    [customFetch]: fetchKeys,
  });
  let loadedAt = Number.NEGATIVE_INFINITY;
  let attemptedAt = Number.NEGATIVE_INFINITY;
  let loading: Promise<boolean> | undefined;

  /** False: they could not be fetched, or it is too early to try again. */
  function load(): Promise<boolean> {
    if (loading) return loading;
    if (now() - attemptedAt < cooldownMs) return Promise.resolve(false);
    attemptedAt = now();
    loading = remote
      .reload()
      .then(() => {
        loadedAt = now();
        return true;
      })
      .catch((error: unknown) => {
        log.warn({ err: error, issuer }, 'the keys of an OpenID Connect issuer cannot be fetched');
        return false;
      })
      .finally(() => {
        loading = undefined;
      });
    return loading;
  }

  return async (header, token) => {
    const age = now() - loadedAt;
    if (age >= keepMs) {
      if (!(await load())) throw new FedEdgeError('unavailable');
    } else if (age >= refreshMs) void load();
    try {
      return await remote(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !(await load())) throw error;
      return remote(header, token);
    }
  };
}
