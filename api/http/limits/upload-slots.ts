import { FedEdgeError } from '../../domain/errors.ts';

export interface UploadSlots {
  /**
   * Resolves with what gives the slot back, as soon as there is one. Throws `overloaded` if too many wait already, or
   * after a while.
   */
  enter(): Promise<() => void>;
}

export interface SlotOptions {
  /** Bodies that are received at once. */
  slots: number;
  waitMs?: number;
  graceMs?: number;
}

const WAIT_MS = 5000;
/** A body that takes longer than this comes over a slow line. */
const GRACE_MS = 10_000;
/** So many times the slots may wait, and so many slow ones go on beside them. */
const SLOW_FACTOR = 8;

/**
 * How many tensor bodies are received at once: each may hold some megabytes, and more at once are not faster. Bodies from
 * slow lines leave their slot after a while, so that quick ones do not wait behind them; their number is bounded, too.
 */
export function createUploadSlots({ slots, waitMs = WAIT_MS, graceMs = GRACE_MS }: SlotOptions): UploadSlots {
  const most = slots * SLOW_FACTOR;
  const waiting = new Set<() => void>();
  let quick = 0;
  let all = 0;
  const isFree = () => quick < slots && all < most;

  function admitNext(): void {
    for (const admit of waiting) {
      if (!isFree()) return;
      waiting.delete(admit);
      admit();
    }
  }

  function occupy(): () => void {
    quick += 1;
    all += 1;
    let isQuick = true;
    let isOver = false;
    const leaveQuick = () => {
      if (!isQuick) return;
      isQuick = false;
      quick -= 1;
      admitNext();
    };
    const timer = setTimeout(leaveQuick, graceMs);
    return () => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      all -= 1;
      if (isQuick) leaveQuick();
      else admitNext();
    };
  }

  function wait(): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const admit = () => {
        clearTimeout(timer);
        resolve(occupy());
      };
      const timer = setTimeout(() => {
        waiting.delete(admit);
        reject(new FedEdgeError('overloaded', { reason: 'too many uploads at once' }));
      }, waitMs);
      waiting.add(admit);
    });
  }

  return {
    async enter() {
      if (waiting.size === 0 && isFree()) return occupy();
      if (waiting.size >= most) throw new FedEdgeError('overloaded', { reason: 'too many uploads at once' });
      return wait();
    },
  };
}
