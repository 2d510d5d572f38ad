import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { AppEnv } from '../context.ts';
import { groupAddress } from '../limits/client-addresses.ts';
import type { Quick } from '../quick/requests.ts';
import { closeStalled, lookMs } from './progress.ts';

export interface Listening {
  url: string;
  port: number;
  /** Takes no more connections, lets requests end for `drainMs`, then cuts what is left. */
  close(drainMs: number): Promise<void>;
}

/** What connections may cost. */
export interface ConnectionLimits {
  /** Open at once. */
  most: number;
  /** Of one address. */
  mostPerAddress: number;
  /** Longest time in which a body or an answer makes no progress. */
  stalledMs: number;
  /** Longest time in which nothing at all passes. */
  silentMs: number;
  /** Longest time that a request's head may take. */
  headMs: number;
}

export const defaultLimits: ConnectionLimits = {
  most: Number.POSITIVE_INFINITY,
  mostPerAddress: Number.POSITIVE_INFINITY,
  stalledMs: 10_000,
  // Not the 30 s that are usual for idle sockets: a long poll may say nothing for 60 s, and an event stream for 15 s at a
  // time. Whoever is idle without such a reason is closed earlier.
  silentMs: 90_000,
  headMs: 10_000,
};

/** Idle connections are looked for so often while the server closes. */
const CLOSING_TICK_MS = 25;
/** Looks for late heads in the time that one may take, so that it is closed at most a quarter of that after it. */
const HEAD_LOOKS = 4;

const serverOptions = {
  // The largest update over a slow line. A body that makes no progress is cut much earlier (progress.ts), and routes that
  // read JSON give it 30 s (unread-bodies.ts).
  requestTimeout: 50 * 60_000,
  // Not 30 s either: longer than the 60 s of common balancers, or they would send into a connection that is being closed.
  keepAliveTimeout: 75_000,
  maxHeaderSize: 8 * 1024,
  insecureHTTPParser: false,
  noDelay: true,
} as const;

/** After so long a head, a body or a reader that has stopped is closed at the latest. */
export function longestStopMs({ headMs, stalledMs }: Pick<ConnectionLimits, 'headMs' | 'stalledMs'>) {
  return { head: headMs + headMs / HEAD_LOOKS, bodyOrReader: stalledMs + lookMs(stalledMs) };
}

/** Serves the app, where `quick` has not answered. Rejects if the address is taken. */
export async function listen(
  app: Pick<OpenAPIHono<AppEnv>, 'fetch'> & { quick?: Quick },
  { host, port }: { host: string; port: number },
  limits: Partial<ConnectionLimits> = {},
): Promise<Listening> {
  const { most, mostPerAddress, stalledMs, silentMs, headMs } = { ...defaultLimits, ...limits };
  const answer = getRequestListener((request, env) => app.fetch(request, env as AppEnv['Bindings']), {
    // unread-bodies.ts does that, with a tighter bound.
    autoCleanupIncoming: false,
  });
  const server = createServer(
    { ...serverOptions, headersTimeout: headMs, connectionsCheckingInterval: headMs / HEAD_LOOKS },
    (incoming, outgoing) => {
      watch(incoming);
      const fallBack = () => void answer(incoming, outgoing);
      if (!app.quick?.(incoming, outgoing, fallBack)) fallBack();
    },
  );
  if (Number.isFinite(most)) server.maxConnections = most;
  limitAddresses(server, mostPerAddress);
  const watch = closeStalled(server, { stalledMs, silentMs });
  const sockets = trackSockets(server);
  // The body's reader says `100 Continue`, so that an early refusal comes instead of it.
  server.on('checkContinue', (incoming, outgoing) => server.emit('request', incoming, outgoing));
  server.on('checkExpectation', (_incoming, outgoing) =>
    outgoing.writeHead(417, { connection: 'close' }).end(),
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(port, host, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${displayHost(host)}:${bound}`,
    port: bound,
    close: (drainMs) => close(server, drainMs, sockets),
  };
}

/** Closes connections beyond those that one address may have. */
function limitAddresses(server: Server, most: number): void {
  if (!Number.isFinite(most)) return;
  const counts = new Map<string, number>();
  server.on('connection', (socket) => {
    const address = groupAddress(socket.remoteAddress) ?? '';
    const count = counts.get(address) ?? 0;
    if (count >= most) return socket.destroy();
    counts.set(address, count + 1);
    socket.once('close', () => {
      const left = counts.get(address)! - 1;
      if (left > 0) counts.set(address, left);
      else counts.delete(address);
    });
  });
}

function trackSockets(server: Server): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

function close(server: Server, drainMs: number, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    // Without a request so far, such as those that browsers open ahead: to Node they are not idle.
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
    // A connection becomes idle when its last request has been answered; it is not to wait for another one.
    const tick = setInterval(() => server.closeIdleConnections(), CLOSING_TICK_MS);
    const cut = setTimeout(() => server.closeAllConnections(), drainMs);
    server.close(() => {
      clearInterval(tick);
      clearTimeout(cut);
      resolve();
    });
    server.closeIdleConnections();
  });
}

function displayHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
