import { readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Of those that do what the event loop has handed out: Node's for files, V8's for garbage. */
const HELPERS = new Set(['libuv-worker', 'V8Worker']);
/** A third of its share, where both want to run. */
const NICENESS = 5;

/**
 * Lets the event loop run before the threads that help it, where they have too few processors: woken by it, they would take
 * its place in the middle of a request, and all requests wait for it. Linux gives threads priorities of their own; elsewhere,
 * and where it is refused, all stay alike. To be called when the threads are there: after the first file was read.
 */
export function putEventLoopFirst(): void {
  if (process.platform !== 'linux') return;
  for (const thread of listThreads()) if (HELPERS.has(thread.name)) lower(thread.id);
}

function listThreads(): { id: number; name: string }[] {
  const threads = attempt(() => readdirSync('/proc/self/task')) ?? [];
  return threads.map((id) => ({
    id: Number(id),
    name: attempt(() => readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim()) ?? 'ended',
  }));
}

function lower(id: number): void {
  // Refused: it is slower then, and right.
  attempt(() => setPriority(id, NICENESS));
}

function attempt<T>(step: () => T): T | undefined {
  try {
    return step();
  } catch {
    return undefined;
  }
}
