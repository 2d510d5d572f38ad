import type { Channel } from '../store/journal/channels.ts';
import type { Listener } from '../store/journal/listener.ts';

/** Waits for channels. A wake-up that comes while nobody waits is kept for the next wait. */
export interface Waker {
  /** Resolves at a wake-up, after `ms`, or when the signal is aborted, whichever is first. */
  wait(ms: number): Promise<void>;
  stop(): void;
}

export function createWaker(listener: Listener, channels: readonly Channel[], signal: AbortSignal): Waker {
  let woken = false;
  let resume: (() => void) | undefined;
  const wake = () => {
    woken = true;
    resume?.();
  };
  const subscriptions = channels.map((channel) => listener.subscribe(channel, wake));
  signal.addEventListener('abort', wake);
  return {
    async wait(ms) {
      if (!woken && !signal.aborted) await pause(ms, (wakeUp) => (resume = wakeUp));
      resume = undefined;
      woken = false;
    },
    stop() {
      for (const unsubscribe of subscriptions) unsubscribe();
      signal.removeEventListener('abort', wake);
    },
  };
}

/** Resolves after `ms`, or when what `expose` is given is called. */
export function pause(ms: number, expose: (wakeUp: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    expose(() => {
      clearTimeout(timer);
      resolve();
    });
  });
}
