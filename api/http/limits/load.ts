import { type EventLoopUtilization, monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

/** `high`: what can wait should. `critical`: memory is about to run out. */
export type Load = 'normal' | 'high' | 'critical';

/** What this process has to bear. */
export interface Strain {
  /** Mean delay of timers since the last look, in milliseconds. */
  loopDelayMs: number;
  /** Of the heap that V8 may have, or of the memory that the container may have, whichever is closer: 0 to 1. */
  memory: number;
}

/** The mean of some half a second: a single pause does not count, a loop that has got behind does. */
const HIGH_DELAY_MS = 250;
const HIGH_MEMORY = 0.85;
const CRITICAL_MEMORY = 0.95;
const LOOK_MS = 500;

export function judgeLoad({ loopDelayMs, memory }: Strain): Load {
  if (memory >= CRITICAL_MEMORY) return 'critical';
  return memory >= HIGH_MEMORY || loopDelayMs >= HIGH_DELAY_MS ? 'high' : 'normal';
}

/** The load, looked at when somebody asks, at most twice a second. */
export function createLoadGauge(
  measure: () => Strain = createMeasure(),
  now: () => number = () => performance.now(),
): () => Load {
  let load: Load = 'normal';
  let lookedAt = Number.NEGATIVE_INFINITY;
  return () => {
    if (now() - lookedAt < LOOK_MS) return load;
    load = judgeLoad(measure());
    lookedAt = now();
    return load;
  };
}

/** How busy this thread was since it was asked last, or since now: 0 to 1. */
export function createBusynessGauge(): () => number {
  let before: EventLoopUtilization = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}

function createMeasure(): () => Strain {
  const delays = monitorEventLoopDelay({ resolution: 20 });
  return () => {
    delays.enable();
    // NaN until the first delay was seen.
    const loopDelayMs = (delays.mean || 0) / 1e6;
    delays.reset();
    return { loopDelayMs, memory: Math.max(usedHeap(), usedMemory()) };
  };
}

function usedHeap(): number {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
  return used / limit;
}

/** 0 where no container limits us. */
function usedMemory(): number {
  const limit = process.constrainedMemory();
  // Without a limit some kernels tell a number near 2^64.
  return limit > 0 && limit < 2 ** 50 ? process.memoryUsage.rss() / limit : 0;
}
