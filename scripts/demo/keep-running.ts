import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

const PAUSE_MS = 250;
const MOST_RESTARTS = 5;
/** Who does not end in order by then is killed. */
const PATIENCE_MS = 20_000;

export interface KeptProcess {
  /** The process as it runs now, or has ended just now. */
  current(): ChildProcess;
  /** Rejects when it has ended too often; then it is not started again. */
  failure: Promise<never>;
  /** It has done something: what went wrong before is forgotten. */
  succeeded(): void;
  stop(): Promise<void>;
}

/** Watches a child process, and starts it again if it ends although nobody asked: after a pause, and not for ever. */
export function keepRunning(options: {
  name: string;
  child: ChildProcess;
  again: () => ChildProcess | Promise<ChildProcess>;
  note: (text: string) => void;
}): KeptProcess {
  const { name, again, note } = options;
  const stopping = new AbortController();
  let child = options.child;
  let failures = 0;
  const watch = async (): Promise<void> => {
    while (true) {
      const how = await untilEnded(child);
      if (stopping.signal.aborted) return;
      failures += 1;
      if (failures > MOST_RESTARTS) throw new Error(`${name} has ended ${failures} times, now by ${how}`);
      note(`${name} has ended by ${how}: starting it again`);
      await sleep(PAUSE_MS * 2 ** (failures - 1), undefined, { signal: stopping.signal });
      child = await again();
      if (stopping.signal.aborted) child.kill('SIGTERM');
    }
  };
  const { promise: failure, reject } = Promise.withResolvers<never>();
  failure.catch(() => undefined);
  const watching = watch().catch((error) => {
    if (!stopping.signal.aborted) reject(error);
  });
  let stopped: Promise<void> | undefined;
  const stop = async () => {
    stopping.abort();
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    await watching;
    clearTimeout(late);
  };
  return {
    current: () => child,
    failure,
    succeeded() {
      failures = 0;
    },
    stop() {
      // A second signal would cut short what the first one began.
      stopped ??= stop();
      return stopped;
    },
  };
}

async function untilEnded(child: ChildProcess): Promise<string> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  return child.signalCode ?? `exit code ${child.exitCode}`;
}
