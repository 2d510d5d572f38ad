import type { Quota } from '../../config.ts';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Principal } from '../../domain/role.ts';
import { clientAddress } from './client-addresses.ts';
import { createTokenBuckets, type Take, type TokenBuckets } from './token-buckets.ts';

/** The answer whose headers tell the limit. */
interface Told {
  header(name: string, value: string): void;
}

/** What of a request is counted before anything is done for it. */
export interface Asked {
  method: string;
  path: string;
  remoteAddress: string | undefined;
  forwardedFor: string | undefined;
}

/** Both throw `rate_limited`, and tell the limit in the answer's headers. */
export interface RateLimits {
  /** Before anything is done for a request. */
  countAddress(answer: Told, asked: Asked): void;
  /** As soon as it is known who asks. */
  countPrincipal(answer: Told, principal: Principal): void;
}

/** Where a caller that nobody knows makes the server check signatures. */
const SIGNED: ReadonlySet<string> = new Set(['POST /v1/token', 'POST /v1/devices']);
/** A balancer's questions come from few addresses, and an answer 429 would take the server out of service. */
const UNCOUNTED: ReadonlySet<string> = new Set(['/livez', '/readyz']);

type Count = (answer: Told, key: string) => void;

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
  const countsAddresses = quotas.perAddress !== undefined || quotas.tokensPerAddress !== undefined;
  return {
    countAddress(answer, { method, path, remoteAddress, forwardedFor }) {
      if (!countsAddresses || UNCOUNTED.has(path)) return;
      const address = clientAddress(remoteAddress, forwardedFor, trustedProxies);
      if (address === undefined) return;
      everything(answer, address);
      if (SIGNED.has(`${method} ${path}`)) signed(answer, address);
    },
    countPrincipal(answer, { kind, id }) {
      byKind[kind](answer, id);
    },
  };
}

function createCount(policy: string, quota: Quota | undefined, now: () => number): Count {
  if (quota === undefined) return () => {};
  let buckets: TokenBuckets | undefined;
  return (answer, key) => {
    buckets ??= createTokenBuckets(quota);
    const take = buckets.take(key, now());
    tellLimit(answer, policy, quota, take);
    if (take.allowed) return;
    answer.header('retry-after', String(Math.ceil(take.waitSeconds)));
    throw new FedEdgeError('rate_limited', { policy });
  };
}

/** As draft-ietf-httpapi-ratelimit-headers-09 has it: of several limits the one that was counted last. */
function tellLimit(answer: Told, policy: string, { requests, seconds }: Quota, take: Take): void {
  answer.header('ratelimit-policy', `"${policy}";q=${requests};w=${seconds}`);
  answer.header('ratelimit', `"${policy}";r=${take.remaining};t=${Math.ceil(take.fullSeconds)}`);
}
