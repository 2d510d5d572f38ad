import { once } from 'node:events';
import { flushCompileCache } from 'node:module';
import { MessageChannel, Worker } from 'node:worker_threads';
import { OPENING_THREAD, type Opened, type ToOpener } from './opening-thread.ts';

/** So many closed ones are gathered at most; they may also wait for the next that are opened. */
const MOST_TO_CLOSE = 64;
const CLOSE_MS = 100;
/** One that could not run may not run now either. */
const RESTART_MS = 10_000;
/** It holds nothing but paths. */
const resourceLimits = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 };

/**
 * Opens and closes many files on a thread of its own, which the first ones start. Descriptors belong to the process: of a
 * batch each costs the event loop next to nothing, where a call for each costs it a tenth of what a small update takes.
 */
export interface Opener {
  /**
   * Makes these files in one folder, their names durable: all, or none if one fails (with the system's error). The spare files
   * in the folder `spares` are used for them first. They are opened with `flags`, to which those for new ones are added.
   * Descriptors in the order of the paths, each to be closed by `close`.
   */
  open(paths: readonly string[], flags: number, spares?: string): Promise<number[]>;
  /** Soon. */
  close(descriptor: number): void;
}

export function createOpener({ startThread = startOpeningThread, restartMs = RESTART_MS } = {}): Opener {
  let thread: Worker | undefined;
  let endedAt = Number.NEGATIVE_INFINITY;
  let toClose: number[] = [];
  let timer: NodeJS.Timeout | undefined;

  function startNow(): Worker {
    try {
      return startThread();
    } catch (error) {
      endedAt = performance.now();
      throw error;
    }
  }

  /** Throws where there is none, and none can be started now. */
  function need(): Worker {
    if (thread) return thread;
    if (performance.now() - endedAt < restartMs) throw new Error('it has ended a moment ago');
    const started = startNow();
    const forget = () => {
      if (thread !== started) return;
      thread = undefined;
      endedAt = performance.now();
    };
    // Who waits for it sees that the reply's port closes. `error` without a listener would end the process.
    started.on('error', forget).on('exit', forget).unref();
    thread = started;
    return started;
  }

  function send(open?: ToOpener['open']): void {
    need().postMessage(
      { close: toClose, ...(open && { open }) } satisfies ToOpener,
      open ? [open.reply] : [],
    );
    // What a thread that ends has not yet closed stays open: a handful of descriptors, and nothing is lost.
    toClose = [];
  }

  function closeSoon(delayMs: number): void {
    timer ??= setTimeout(closeAll, delayMs).unref();
  }

  /** Never throws: whoever closes a file is done with it. */
  function closeAll(): void {
    clearTimeout(timer);
    timer = undefined;
    try {
      if (toClose.length > 0) send();
    } catch {
      closeSoon(restartMs);
    }
  }

  return {
    async open(paths, flags, spares) {
      const { port1, port2 } = new MessageChannel();
      try {
        const answered = once(port1, 'message') as Promise<[Opened]>;
        const ended = once(port1, 'close').then(() => undefined);
        send({ paths, flags, spares, reply: port2 });
        const [opened] = (await Promise.race([answered, ended])) ?? [];
        if (!opened) throw new Error('it has ended');
        if ('fault' in opened) throw Object.assign(new Error(opened.fault.message), opened.fault);
        return opened.descriptors;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).syscall !== undefined) throw error;
        const failed = new Error('The thread that opens files cannot be used', { cause: error });
        throw Object.assign(failed, { syscall: 'open' });
      } finally {
        port1.close();
      }
    },
    close(descriptor) {
      toClose.push(descriptor);
      if (toClose.length === MOST_TO_CLOSE) closeAll();
      else closeSoon(CLOSE_MS);
    },
  };
}

function startOpeningThread(): Worker {
  flushCompileCache();
  return new Worker(new URL('./opening-thread.ts', import.meta.url), {
    name: OPENING_THREAD,
    workerData: OPENING_THREAD,
    resourceLimits,
    // They are in use here when the thread ends: it must not close them, whose numbers would be other files' then.
    trackUnmanagedFds: false,
  });
}
