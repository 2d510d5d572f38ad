import { isGathered } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import { createBusynessGauge } from './load.ts';

/** The place of a body that is received. */
export interface UploadSlot {
  /** What has come is being stored: its sender is not to blame if no more comes. */
  storing(): void;
  /** What had come was stored. */
  stored(): void;
  leave(): void;
}

export interface UploadSlots {
  /**
   * Resolves as soon as there is a slot for a body of `bytes`. Throws `overloaded` if too many wait already, or after a
   * while.
   */
  enter(bytes: number): Promise<UploadSlot>;
}

export interface SlotOptions {
  /** Bodies that are received at once. */
  slots: number;
  waitMs?: number;
  graceMs?: number;
  /** How busy the process was since this was asked last, from 0 to 1. */
  readBusyness?: () => number;
}

/** So many large ones that come quickly fill a process. */
const FEW = 4;
/** A process that is busier has no time for more. */
const BUSY = 0.8;
/** A body whose next half of a megabyte is waited for so long is held up by its line, and not by the others. */
const HELD_UP_MS = 100;
/** A body that takes longer than this lets others pass. */
const GRACE_MS = 10_000;
/** So many times the slots may wait, and so many bodies that take long go on beside them. */
const LONG_FACTOR = 8;
const WAIT_MS = 5000;
const LOOK_MS = 50;

interface Body {
  isLarge: boolean;
  since: number;
  /** Since when nothing of it is being stored. */
  awaitedSince: number | undefined;
}

interface Waiting {
  isLarge: boolean;
  since: number;
  admit(): void;
  refuse(): void;
}

/**
 * How many tensor bodies are received at once: each holds a megabyte or two, besides what its store keeps of it. Where few
 * large ones fill the process, more would all end late and together, and be folded only then: so few of these are received
 * at once, in the order in which they came, and more while the process has time left or their senders have no more to
 * send. Small ones, which come in one go and gain by being committed together, pass them. Bodies that take long do not
 * count, so that others do not wait behind them; their number is bounded, too.
 */
export function createUploadSlots({
  slots,
  waitMs = WAIT_MS,
  graceMs = GRACE_MS,
  readBusyness = createBusynessGauge(),
}: SlotOptions): UploadSlots {
  const bodies = createBodies({ slots, graceMs, onLeave: () => admit(FEW) });
  const waiting = new Set<Waiting>();
  let looking: NodeJS.Timeout | undefined;

  /** In their order, as long as there is room for them. */
  function admit(mostLarge: number): void {
    for (const one of waiting) {
      if (!bodies.hasRoom(one.isLarge, mostLarge)) continue;
      waiting.delete(one);
      one.admit();
    }
  }

  function look(): void {
    const now = performance.now();
    bodies.letPass(now);
    admit(enoughLarge(bodies.countLarge(now), readBusyness()));
    for (const one of waiting) {
      if (now - one.since < waitMs) break;
      waiting.delete(one);
      if (bodies.isFree()) one.admit();
      else one.refuse();
    }
    if (waiting.size > 0) return;
    clearInterval(looking);
    looking = undefined;
  }

  function wait(isLarge: boolean): Promise<UploadSlot> {
    if (!looking) {
      readBusyness();
      looking = setInterval(look, LOOK_MS);
    }
    return new Promise((resolve, reject) => {
      waiting.add({
        isLarge,
        since: performance.now(),
        admit: () => resolve(bodies.enter(isLarge)),
        refuse: () => reject(tooMany()),
      });
    });
  }

  return {
    async enter(bytes) {
      const isLarge = !isGathered(bytes);
      if (bodies.hasRoom(isLarge, FEW)) return bodies.enter(isLarge);
      if (waiting.size >= bodies.most) throw tooMany();
      return wait(isLarge);
    },
  };
}

/** Those that are received. */
function createBodies({ slots, graceMs, onLeave }: { slots: number; graceMs: number; onLeave: () => void }) {
  const most = slots * LONG_FACTOR;
  const counted = new Set<Body>();
  let long = 0;

  const isFree = () => counted.size < slots && counted.size + long < most;

  /** Large ones that are not held up by their lines. */
  function countLarge(now: number): number {
    let count = 0;
    for (const { isLarge, awaitedSince = now } of counted) {
      if (isLarge && now - awaitedSince < HELD_UP_MS) count += 1;
    }
    return count;
  }

  return {
    most,
    isFree,
    countLarge,
    /** For one more, if there may be so many large ones. */
    hasRoom: (isLarge: boolean, mostLarge: number) =>
      isFree() && (!isLarge || countLarge(performance.now()) < mostLarge),
    /** What takes long does not count any longer. */
    letPass(now: number): void {
      for (const body of counted) {
        if (now - body.since <= graceMs) continue;
        counted.delete(body);
        long += 1;
      }
    },
    enter(isLarge: boolean): UploadSlot {
      const since = performance.now();
      const body: Body = { isLarge, since, awaitedSince: since };
      let isOver = false;
      counted.add(body);
      return {
        storing() {
          body.awaitedSince = undefined;
        },
        stored() {
          body.awaitedSince = performance.now();
        },
        leave() {
          if (isOver) return;
          isOver = true;
          if (!counted.delete(body)) long -= 1;
          onLeave();
        },
      };
    },
  };
}

/** So many large ones at once as the time that was left would serve, too. */
function enoughLarge(large: number, busyness: number): number {
  return busyness < BUSY ? Math.max(FEW, large / Math.max(busyness, 0.01)) : FEW;
}

function tooMany(): FedEdgeError {
  return new FedEdgeError('overloaded', { reason: 'too many uploads at once' });
}
