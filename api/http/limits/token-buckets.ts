import type { Quota } from '../../config.ts';

/** What a bucket says to one more request. Seconds are not rounded. */
export interface Take {
  allowed: boolean;
  /** Requests that would be allowed at once after this one. */
  remaining: number;
  /** Until the next request is allowed; 0 if it is. */
  waitSeconds: number;
  /** Until the bucket is full again. */
  fullSeconds: number;
}

export interface TokenBuckets {
  take(key: string, nowMs: number): Take;
  readonly size: number;
}

const MAX_BUCKETS = 100_000;

/**
 * A token bucket for each key: it holds `requests` tokens and gets as many in `seconds`, evenly. Kept as one number, the
 * time at which it is full again (GCRA, ITU-T I.371). Of more keys than `maxBuckets` those are forgotten that were not
 * seen for the longest time: a bucket that was forgotten is full.
 */
export function createTokenBuckets(
  { requests, seconds }: Quota,
  maxBuckets: number = MAX_BUCKETS,
): TokenBuckets {
  const fullAt = new Map<string, number>();
  const windowMs = seconds * 1000;
  const tokenMs = windowMs / requests;

  function keep(key: string, time: number): void {
    fullAt.delete(key);
    fullAt.set(key, time);
    if (fullAt.size <= maxBuckets) return;
    const [oldest] = fullAt.keys();
    fullAt.delete(oldest!);
  }

  return {
    take(key, nowMs) {
      // Never further ahead than an empty bucket is, also if the clock was set back.
      const missingMs = Math.min(Math.max((fullAt.get(key) ?? 0) - nowMs, 0), windowMs);
      const allowed = missingMs + tokenMs <= windowMs + 1e-6;
      const afterMs = allowed ? missingMs + tokenMs : missingMs;
      keep(key, nowMs + afterMs);
      return {
        allowed,
        remaining: Math.max(0, Math.floor((windowMs - afterMs) / tokenMs + 1e-6)),
        waitSeconds: allowed ? 0 : (missingMs + tokenMs - windowMs) / 1000,
        fullSeconds: afterMs / 1000,
      };
    },
    get size() {
      return fullAt.size;
    },
  };
}
