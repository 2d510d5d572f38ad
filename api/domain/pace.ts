const DEVICES_PER_SECOND = 500;
const MAX_DELAY_SECONDS = 60;

/**
 * How long a device without an assignment should stay away: none is turned away for long while few wait, and many that
 * wait come back spread over time. `spread` is uniform in [0, 1).
 */
export function pollDelaySeconds(waiting: number, spread: number): number {
  const window = Math.min(waiting / DEVICES_PER_SECOND, MAX_DELAY_SECONDS);
  return Math.max(1, Math.round(window * (0.5 + spread)));
}
