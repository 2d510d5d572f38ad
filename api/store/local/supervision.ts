import { setTimeout as sleep } from 'node:timers/promises';
import type { Postmaster } from './postmaster.ts';
import { processIdentity } from './processes.ts';

/** Elsewhere than on Linux a look is a process of its own. */
const LOOK_MS = process.platform === 'linux' ? 250 : 3000;
/** What the dead one has left (shared memory, sessions that end) may stand in the way for a moment. */
const RETRY_MS = 500;

export interface Supervision {
  /** The server that runs now. */
  current(): Postmaster;
  /** No server is started from then on. */
  end(): Promise<void>;
}

/** Watches a PostgreSQL and starts it again whenever its process has died. `start` is tried until it succeeds. */
export async function supervise(
  first: Postmaster,
  start: () => Promise<Postmaster>,
  log: (message: string) => void,
): Promise<Supervision> {
  const ending = new AbortController();
  const { signal } = ending;
  const pause = (ms: number) => sleep(ms, undefined, { signal, ref: false }).catch(() => undefined);
  let server = first;
  let identity = await processIdentity(server.pid);

  async function restart(): Promise<void> {
    log(`PostgreSQL (process ${server.pid}) has died and is started again`);
    while (!signal.aborted) {
      try {
        server = await start();
        identity = await processIdentity(server.pid);
        return log(`PostgreSQL started again (process ${server.pid})`);
      } catch (error) {
        log(`PostgreSQL cannot be started again now: ${(error as Error).message}`);
        await pause(RETRY_MS);
      }
    }
  }

  async function watch(): Promise<void> {
    while (!signal.aborted) {
      await pause(LOOK_MS);
      if (!signal.aborted && (await processIdentity(server.pid)) !== identity) await restart();
    }
  }

  const watching = watch();
  return {
    current: () => server,
    async end() {
      ending.abort();
      await watching;
    },
  };
}
