import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How long a service may be silent: so long in all, its tries and the pauses between them together, until it answers. The
 * time in which bytes move does not count.
 */
export interface Patience {
  /** Watches one try. */
  watch(): Watch;
  /** Waits before the next try. */
  pause(ms: number): Promise<void>;
  isOver(): boolean;
  /** It has answered. */
  restore(): void;
}

export interface Watch {
  /** Aborted by a silence that is too long. */
  readonly signal: AbortSignal;
  /** From now on it is the service's turn: at the beginning, and whenever bytes have moved. */
  expect(): void;
  /** It is not, or not any more. */
  rest(): void;
}

/**
 * What one try may take of it: longer than the 10 s after which services give a sign of life while they complete an
 * upload, and time for another try is left.
 */
const TRY_SHARE = 0.6;
/** Too little of it for another try. */
const LEAST_SHARE = 0.05;

export function createPatience(ms: number): Patience {
  let left = ms;
  return {
    isOver: () => left < LEAST_SHARE * ms,
    restore() {
      left = ms;
    },
    async pause(wanted) {
      const began = performance.now();
      await sleep(Math.max(0, Math.min(wanted, left)));
      left -= performance.now() - began;
    },
    watch() {
      const controller = new AbortController();
      let timer: NodeJS.Timeout | undefined;
      let since = 0;
      return {
        signal: controller.signal,
        expect() {
          since = performance.now();
          if (timer) return void timer.refresh();
          const silence = Math.max(0, Math.min(left, TRY_SHARE * ms));
          const end = () => controller.abort(new Error(`silent for ${Math.round(silence)} ms`));
          timer = setTimeout(end, silence);
        },
        rest() {
          if (!timer) return;
          clearTimeout(timer);
          timer = undefined;
          left -= performance.now() - since;
        },
      };
    },
  };
}
