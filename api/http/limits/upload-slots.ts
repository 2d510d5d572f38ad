import { type EventLoopUtilization, performance } from 'node:perf_hooks';
import { MAX_GATHERED_BYTES } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';

/** The place of a body that is received. */
export interface UploadSlot {
  /** Of the body, so far. */
  bytes: number;
  /** What has come is being stored: its sender is not to blame if no more comes. */
  isStoring: boolean;
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
const WAIT_MS = 5000;
const LOOK_MS = 50;
/** A process that is busier has no time for more. */
const BUSY = 0.8;
/** Who sends less than this part of an equal share is held up by its line, and not by the others. */
const SLOW_SHARE = 1 / 4;
/** Whatever takes longer than this lets others pass. */
const GRACE_MS = 10_000;
/** So many times the slots may wait, and so many slow ones go on beside them. */
const SLOW_FACTOR = 8;

/** One that counts: others wait for it. */
interface Quick extends UploadSlot {
  isLarge: boolean;
  since: number;
  /** At the last look. */
  mark: { bytes: number; at: number };
}

interface Waiting {
  isLarge: boolean;
  since: number;
  admit(): void;
  refuse(): void;
}

/**
 * How many tensor bodies are received at once: each may hold a megabyte or two, and where few large ones fill the
 * process, more would all end late and together, and be folded only then. So few of these are received at once, in the
 * order in which they came, and more while the process has time left; small ones, which come in one go and gain by being
 * committed together, pass them. Bodies from slow lines do not count, so that quick ones do not wait behind them; their
 * number is bounded, too.
 */
export function createUploadSlots({
  slots,
  waitMs = WAIT_MS,
  graceMs = GRACE_MS,
  readBusyness = createBusyness(),
}: SlotOptions): UploadSlots {
  const most = slots * SLOW_FACTOR;
  const waiting = new Set<Waiting>();
  const quick = new Set<Quick>();
  let slow = 0;
  let looking: NodeJS.Timeout | undefined;

  const isFree = () => quick.size < slots && quick.size + slow < most;
  const hasRoom = (isLarge: boolean, large: number) => isFree() && (!isLarge || countLarge(quick) < large);

  function occupy(isLarge: boolean): UploadSlot {
    const since = performance.now();
    const slot: Quick = { isLarge, bytes: 0, isStoring: false, since, mark: { bytes: 0, at: since }, leave };
    let isOver = false;
    function leave() {
      if (isOver) return;
      isOver = true;
      if (!quick.delete(slot)) slow -= 1;
      admit(FEW);
    }
    quick.add(slot);
    return slot;
  }

  /** In their order, as long as there is room. */
  function admit(large: number): void {
    for (const one of waiting) {
      if (!isFree()) return;
      if (!hasRoom(one.isLarge, large)) continue;
      waiting.delete(one);
      one.admit();
    }
  }

  function look(): void {
    const now = performance.now();
    const busyness = readBusyness();
    for (const slot of findSlow(quick, now, graceMs)) {
      quick.delete(slot);
      slow += 1;
    }
    admit(busyness < BUSY ? Math.max(FEW, countLarge(quick) / busyness) : FEW);
    for (const one of waiting) {
      if (now - one.since < waitMs) break;
      waiting.delete(one);
      if (isFree()) one.admit();
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
        admit: () => resolve(occupy(isLarge)),
        refuse: () => reject(tooMany()),
      });
    });
  }

  return {
    async enter(bytes) {
      const isLarge = bytes > MAX_GATHERED_BYTES;
      if (hasRoom(isLarge, FEW)) return occupy(isLarge);
      if (waiting.size >= most) throw tooMany();
      return wait(isLarge);
    },
  };
}

function countLarge(quick: ReadonlySet<Quick>): number {
  let count = 0;
  for (const { isLarge } of quick) if (isLarge) count += 1;
  return count;
}

function tooMany(): FedEdgeError {
  return new FedEdgeError('overloaded', { reason: 'too many uploads at once' });
}

/** Those that others need not wait for: the looks are at least `LOOK_MS` apart. */
function findSlow(quick: ReadonlySet<Quick>, now: number, graceMs: number): Quick[] {
  const known = [...quick].filter(({ mark }) => now - mark.at >= LOOK_MS / 2);
  const rates = known.map(({ bytes, mark }) => (bytes - mark.bytes) / (now - mark.at));
  const least = (rates.reduce((sum, rate) => sum + rate, 0) / known.length) * SLOW_SHARE;
  const slow = known.filter(
    ({ isStoring, since }, index) => now - since > graceMs || (!isStoring && rates[index]! < least),
  );
  for (const slot of known) slot.mark = { bytes: slot.bytes, at: now };
  return slow;
}

/** Of the thread that receives the bodies. */
function createBusyness(): () => number {
  let before: EventLoopUtilization = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}
