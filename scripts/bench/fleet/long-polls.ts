import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, createConnection } from './connections.ts';
import { type Device, poll, type Server } from './devices.ts';

export interface Arrival {
  round: string;
  /** When the device had read it. */
  atMs: number;
}

export interface LongPolls {
  /** Assignments that came since the last question. */
  arrivals(): Arrival[];
  /** The round is over: those that it had invited wait again. */
  release(): void;
  stop(): Promise<void>;
}

/** Fewer than the ports that one address has. */
const DEVICES_PER_ADDRESS = 5000;
/** The waits begin spread over so long for each thousand: a crowd, not a flood. */
const SPREAD_MS = 500;
const PAUSE_MS = 500;

/** Every device waits on a connection of its own, and again when an answer came. One that got an assignment waits for `release`. */
export function startWaiting(server: Server, devices: readonly Device[], waitSeconds: number): LongPolls {
  const arrived: Arrival[] = [];
  let released = Promise.withResolvers<void>();
  const waits = devices.map((device) => async (connection: Connection) => {
    const assignment = await poll(server, device, connection, waitSeconds);
    if (!assignment) return;
    arrived.push({ round: assignment.round, atMs: Date.now() });
    await released.promise;
  });
  const release = () => {
    released.resolve();
    released = Promise.withResolvers();
  };
  const { stop } = keepWaiting(server.url, waits);
  return {
    arrivals: () => arrived.splice(0),
    release,
    async stop() {
      const stopped = stop();
      release();
      await stopped;
    },
  };
}

/** The same on a server that knows no devices. */
export function holdWaits(url: string, count: number, waitSeconds: number): LongPolls {
  const request = { method: 'GET', path: `/wait/${waitSeconds}` };
  const waits = Array.from({ length: count }, () => async (connection: Connection) => {
    await connection.send(request);
  });
  return { arrivals: () => [], release: () => undefined, ...keepWaiting(url, waits) };
}

function keepWaiting(url: string, waits: readonly ((connection: Connection) => Promise<unknown>)[]) {
  const stopping = new AbortController();
  const connections = waits.map((_, index) =>
    createConnection(url, `127.0.0.${2 + Math.floor(index / DEVICES_PER_ADDRESS)}`),
  );
  const spreadMs = (SPREAD_MS * waits.length) / 1000;
  const loops = waits.map(async (wait, index) => {
    await sleep((spreadMs * index) / waits.length, undefined, { signal: stopping.signal }).catch(
      () => undefined,
    );
    while (!stopping.signal.aborted) {
      await wait(connections[index]!).catch(async (error: unknown) => {
        if (stopping.signal.aborted) return;
        console.error(error);
        await sleep(PAUSE_MS);
      });
    }
  });
  return {
    async stop() {
      stopping.abort();
      for (const connection of connections) connection.close();
      await Promise.all(loops);
    },
  };
}
