import { once } from 'node:events';
import { flushCompileCache } from 'node:module';
import { MessageChannel, Worker } from 'node:worker_threads';
import { OPENING_THREAD, type Opened, type ToOpener } from './opening-thread.ts';

/** So many closed ones are gathered at most; they may also wait for the next that are opened. */
const MOST_TO_CLOSE = 64;
const CLOSE_MS = 100;
/** It holds nothing but paths. */
const resourceLimits = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 };

/**
 * Opens and closes many files on a thread of its own, which the first ones start. Descriptors belong to the process: of a
 * batch each costs the event loop next to nothing, where a call for each costs it a tenth of what a small update takes.
 */
export interface Opener {
  /**
   * Opens these files of one folder, and makes their names durable: all, or none if one fails (with the system's error).
   * Descriptors in the order of the paths, each to be closed by `close`.
   */
  open(paths: readonly string[], flags: number): Promise<number[]>;
  /** Soon. */
  close(descriptor: number): void;
}

export function createOpener(startThread: () => Worker = startOpeningThread): Opener {
  let thread: Worker | undefined;
  let toClose: number[] = [];
  let timer: NodeJS.Timeout | undefined;

  function start(): Worker {
    const started = startThread();
    const forget = () => {
      if (thread === started) thread = undefined;
    };
    // Who waits for it sees that the reply's port closes. `error` without a listener would end the process.
    started.on('error', forget).on('exit', forget).unref();
    return started;
  }

  function send(open?: ToOpener['open']): void {
    clearTimeout(timer);
    timer = undefined;
    thread ??= start();
    thread.postMessage(
      { close: toClose, ...(open && { open }) } satisfies ToOpener,
      open ? [open.reply] : [],
    );
    toClose = [];
  }

  return {
    async open(paths, flags) {
      const { port1, port2 } = new MessageChannel();
      const answered = once(port1, 'message') as Promise<[Opened]>;
      const closed = once(port1, 'close').then(() => undefined);
      send({ paths, flags, reply: port2 });
      const [opened] = (await Promise.race([answered, closed])) ?? [];
      port1.close();
      if (!opened)
        throw Object.assign(new Error('the thread that opens files has ended'), { syscall: 'open' });
      if ('fault' in opened) throw Object.assign(new Error(opened.fault.message), opened.fault);
      return opened.descriptors;
    },
    close(descriptor) {
      toClose.push(descriptor);
      if (toClose.length >= MOST_TO_CLOSE) send();
      else timer ??= setTimeout(send, CLOSE_MS).unref();
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
