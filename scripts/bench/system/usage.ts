import { readFileSync } from 'node:fs';

/** Of Linux on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Usage {
  /** User and system time of all threads since the process began. */
  cpuSeconds: number;
  residentBytes: number;
  peakBytes: number;
}

/** What a process has used, as Linux tells it. */
export function readUsage(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in parentheses, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytesOf = (name: string) =>
    Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(status)?.[1] ?? Number.NaN) * 1024;
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    residentBytes: bytesOf('VmRSS'),
    peakBytes: bytesOf('VmHWM'),
  };
}

/** Runs `work` and tells how much CPU time the processes used meanwhile. */
export async function withCpu<T>(
  pids: readonly number[],
  work: () => Promise<T>,
): Promise<{ result: T; cpuSeconds: number }> {
  const total = () => pids.reduce((sum, pid) => sum + readUsage(pid).cpuSeconds, 0);
  const before = total();
  const result = await work();
  return { result, cpuSeconds: total() - before };
}
