import { ConnectionError, isPassing, type ProblemError } from './problem-error.ts';

/** The clock, the waiting and the dice of a client; tests bring their own. */
export interface Timing {
  now(): number;
  /** Rejects with the signal's reason once it is aborted. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
  /** In [0, 1). */
  random(): number;
}

export interface Backoff {
  baseMs: number;
  capMs: number;
}

export interface RetryOptions {
  timing: Timing;
  backoff: Backoff;
  signal: AbortSignal;
  /** Unset: for as long as it takes. */
  attempts?: number | undefined;
  onRetry?: ((error: ProblemError | ConnectionError, delayMs: number) => void) | undefined;
}

export const DEFAULT_BACKOFF: Backoff = { baseMs: 500, capMs: 30_000 };

export const systemTiming: Timing = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      }, ms);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    }),
};

/**
 * Does the work until it succeeds, fails for good, or the signal is aborted (then it throws the signal's reason).
 * Between attempts it waits as `delayBefore` says.
 */
export async function retry<T>(work: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { timing, signal, attempts = Number.POSITIVE_INFINITY, onRetry } = options;
  for (let attempt = 0; ; attempt++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (!isPassing(error) || attempt + 1 >= attempts) throw error;
      const delayMs = delayBefore(attempt, error, options);
      onRetry?.(error, delayMs);
      await timing.sleep(delayMs, signal);
    }
  }
}

/**
 * Full jitter: anything up to an exponentially growing bound, so that devices that failed together do not come back
 * together. On top of the server's Retry-After, if it sent one.
 */
export function delayBefore(
  attempt: number,
  error: unknown,
  { timing, backoff }: Pick<RetryOptions, 'timing' | 'backoff'>,
): number {
  const bound = Math.min(backoff.capMs, backoff.baseMs * 2 ** Math.min(attempt, 30));
  const asked = error instanceof ConnectionError ? 0 : ((error as ProblemError).retryAfterMs ?? 0);
  return asked + Math.round(timing.random() * bound);
}
