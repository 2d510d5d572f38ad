import type { Client } from '../generated/client/index.ts';
import { isPassing } from '../http/problem-error.ts';
import { type Backoff, delayBefore, type Timing } from '../http/retries.ts';
import { type FederationEvent, openEvents } from './event-stream.ts';

export interface FollowOptions {
  /** Begins after this position; 0: with the first event ever. Unset: with what happens from now on. */
  after?: number | undefined;
  /** Only events of these types. Unset: all. */
  types?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
}

interface FollowContext extends FollowOptions {
  timing: Timing;
  backoff: Backoff;
  signal: AbortSignal;
}

/**
 * Events in order, each once. After a cut connection it goes on behind the last one. The first is `opened`, and after
 * every reconnection there is another. Ends when the signal is aborted; throws when the server refuses.
 */
export async function* followEvents(api: Client, context: FollowContext): AsyncGenerator<FederationEvent> {
  const { types = [], timing, signal } = context;
  let { after } = context;
  let failures = 0;
  while (!signal.aborted) {
    try {
      for await (const event of openEvents(api, { after, types }, signal)) {
        failures = 0;
        after = event.position;
        yield event;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isPassing(error)) throw error;
      const waiting = timing.sleep(delayBefore(failures++, error, context), signal);
      await waiting.catch(() => undefined);
    }
  }
}
