import type { Timing } from '../http/retries.ts';

/** The server's time, as far as it told us: a device's own clock may be anywhere. */
export interface ServerClock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Takes what the server just said its time is; anything that is not a time is passed over. */
  set(time: unknown): void;
}

export function createServerClock({ now }: Pick<Timing, 'now'>): ServerClock {
  let offsetMs = 0;
  return {
    now: () => now() + offsetMs,
    set: (time) => {
      const server = typeof time === 'string' ? Date.parse(time) : Number.NaN;
      if (!Number.isNaN(server)) offsetMs = server - now();
    },
  };
}
