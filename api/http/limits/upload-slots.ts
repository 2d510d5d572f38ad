import { type EventLoopUtilization, performance } from 'node:perf_hooks';
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
  /** Resolves as soon as there is a slot. Throws `overloaded` if too many wait already, or after a while. */
  enter(): Promise<UploadSlot>;
}

export interface SlotOptions {
  /** Bodies that are received at once. */
  slots: number;
  waitMs?: number;
  graceMs?: number;
  /** How busy the process was since this was asked last, from 0 to 1. */
  readBusyness?: () => number;
}

/** So many that come quickly fill a process. */
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
  since: number;
  /** At the last look. */
  mark: { bytes: number; at: number };
}

interface Waiting {
  since: number;
  admit(): void;
  refuse(): void;
}

/**
 * How many tensor bodies are received at once: each may hold a megabyte or two, and where few fill the process, more
 * would all end late and together, and be folded only then. So few are received at once, in the order in which they
 * came, and more while the process has time left. Bodies from slow lines do not count, so that quick ones do not wait
 * behind them; their number is bounded, too.
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
  const isFreeAtOnce = () => quick.size < FEW && isFree();

  function occupy(): UploadSlot {
    const since = performance.now();
    const slot: Quick = { bytes: 0, isStoring: false, since, mark: { bytes: 0, at: since }, leave };
    let isOver = false;
    function leave() {
      if (isOver) return;
      isOver = true;
      if (!quick.delete(slot)) slow -= 1;
      admit(isFreeAtOnce);
    }
    quick.add(slot);
    return slot;
  }

  /** In their order, as long as there is room. */
  function admit(hasRoom: () => boolean): void {
    for (const one of waiting) {
      if (!hasRoom()) return;
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
    const enough = busyness < BUSY ? quick.size / busyness : FEW;
    admit(() => quick.size < enough && isFree());
    admit(isFreeAtOnce);
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

  function wait(): Promise<UploadSlot> {
    if (!looking) {
      readBusyness();
      looking = setInterval(look, LOOK_MS);
    }
    return new Promise((resolve, reject) => {
      waiting.add({
        since: performance.now(),
        admit: () => resolve(occupy()),
        refuse: () => reject(tooMany()),
      });
    });
  }

  return {
    async enter() {
      if (waiting.size === 0 && isFreeAtOnce()) return occupy();
      if (waiting.size >= most) throw tooMany();
      return wait();
    },
  };
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
