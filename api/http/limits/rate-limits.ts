import type { Context } from 'hono';
import type { Quota } from '../../config.ts';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Principal } from '../../domain/role.ts';
import type { AppEnv } from '../context.ts';
import { clientAddress } from './client-addresses.ts';
import { createTokenBuckets, type Take, type TokenBuckets } from './token-buckets.ts';

/** Both throw `rate_limited`, and tell the limit in the answer's headers. */
export interface RateLimits {
  /** Before anything is done for a request. */
  countAddress(c: Context<AppEnv>): void;
  /** As soon as it is known who asks. */
  countPrincipal(c: Context<AppEnv>, principal: Principal): void;
}

/** Where a caller that nobody knows makes the server check signatures. */
const SIGNED: ReadonlySet<string> = new Set(['POST /v1/token', 'POST /v1/devices']);
/** A balancer's questions come from few addresses, and an answer 429 would take the server out of service. */
const UNCOUNTED: ReadonlySet<string> = new Set(['/livez', '/readyz']);

type Count = (c: Context<AppEnv>, key: string) => void;

/** Counts by address and by principal, in this process alone: no query, and N replicas let in N times as much. */
export function createRateLimits({ config, clock }: Pick<Deps, 'config' | 'clock'>): RateLimits {
  const { trustedProxies, ...quotas } = config.limits;
  const now = () => clock.now().getTime();
  const everything = createCount('address', quotas.perAddress, now);
  const signed = createCount('tokens', quotas.tokensPerAddress, now);
  const byKind = {
    device: createCount('device', quotas.perDevice, now),
    operator: createCount('operator', quotas.perOperator, now),
  };
  return {
    countAddress(c) {
      if (UNCOUNTED.has(c.req.path)) return;
      const remote = c.env?.incoming?.socket.remoteAddress;
      const address = clientAddress(remote, c.req.header('x-forwarded-for'), trustedProxies);
      if (address === undefined) return;
      everything(c, address);
      if (SIGNED.has(`${c.req.method} ${c.req.path}`)) signed(c, address);
    },
    countPrincipal(c, { kind, id }) {
      byKind[kind](c, id);
    },
  };
}

function createCount(policy: string, quota: Quota | undefined, now: () => number): Count {
  if (quota === undefined) return () => {};
  let buckets: TokenBuckets | undefined;
  return (c, key) => {
    buckets ??= createTokenBuckets(quota);
    const take = buckets.take(key, now());
    tellLimit(c, policy, quota, take);
    if (take.allowed) return;
    c.header('retry-after', String(Math.ceil(take.waitSeconds)));
    throw new FedEdgeError('rate_limited', { policy });
  };
}

/** As draft-ietf-httpapi-ratelimit-headers-09 has it: of several limits the one that was counted last. */
function tellLimit(c: Context<AppEnv>, policy: string, { requests, seconds }: Quota, take: Take): void {
  c.header('ratelimit-policy', `"${policy}";q=${requests};w=${seconds}`);
  c.header('ratelimit', `"${policy}";r=${take.remaining};t=${Math.ceil(take.fullSeconds)}`);
}
