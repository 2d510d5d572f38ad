import type { Registry } from 'prom-client';
import eventLoopLag from 'prom-client/lib/metrics/eventLoopLag.js';
import heapSizeAndUsed from 'prom-client/lib/metrics/heapSizeAndUsed.js';
import heapSpacesSizeAndUsed from 'prom-client/lib/metrics/heapSpacesSizeAndUsed.js';
import osMemoryHeap from 'prom-client/lib/metrics/osMemoryHeap.js';
import processCpuTotal from 'prom-client/lib/metrics/processCpuTotal.js';
import processHandles from 'prom-client/lib/metrics/processHandles.js';
import processMaxFileDescriptors from 'prom-client/lib/metrics/processMaxFileDescriptors.js';
import processOpenFileDescriptors from 'prom-client/lib/metrics/processOpenFileDescriptors.js';
import processRequests from 'prom-client/lib/metrics/processRequests.js';
import processResources from 'prom-client/lib/metrics/processResources.js';
import processStartTime from 'prom-client/lib/metrics/processStartTime.js';
import version from 'prom-client/lib/metrics/version.js';

const EVENT_LOOP_LOOK_MS = 10;

/**
 * What prom-client tells of every process, but the pauses of the garbage collector: whoever watches those is called after
 * each of them, a hundred times a second in a young generation as small as ours (heap.ts), which took 3 % of an answer 304.
 */
export function collectProcessMetrics(registry: Registry): void {
  const options = { eventLoopMonitoringPrecision: EVENT_LOOP_LOOK_MS };
  for (const register of [
    eventLoopLag,
    heapSizeAndUsed,
    heapSpacesSizeAndUsed,
    osMemoryHeap,
    processCpuTotal,
    processHandles,
    processMaxFileDescriptors,
    processOpenFileDescriptors,
    processRequests,
    processResources,
    processStartTime,
    version,
  ])
    register(registry, options);
}
