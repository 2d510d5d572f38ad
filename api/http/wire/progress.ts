import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { carriesBody } from './unread-bodies.ts';

/** Bytes that have to pass in a window, or what is left of the body: 3 kbit/s, which every line can do. */
const MIN_BYTES = 4096;
/** Looks per window. A mark is set up to one look late, so a connection is closed at most one look after its window. */
const LOOKS = 5;

/** Looks, not time: a process that was itself held up has not given anybody a chance. */
interface Mark {
  bytes: number;
  /** Since then, in vain. */
  looks: number;
}

interface Watched {
  /** The last request that came with a body. */
  incoming: IncomingMessage | undefined;
  received: Mark;
  sent: Mark;
}

/**
 * Closes connections whose client sends a body, or takes an answer, so slowly that nothing moves for `windowMs`. Who
 * waits for us, in a long poll or at an event stream, is left alone, and so is a body that we do not want to read yet.
 * Call what it returns with every request.
 */
export function closeStalled(server: Server, windowMs: number): (incoming: IncomingMessage) => void {
  const sockets = new Map<Socket, Watched>();
  server.on('connection', (socket: Socket) => {
    sockets.set(socket, {
      incoming: undefined,
      received: { bytes: 0, looks: 0 },
      sent: { bytes: 0, looks: 0 },
    });
    socket.once('close', () => sockets.delete(socket));
  });
  const look = () => {
    for (const [socket, watched] of sockets) if (isStalled(socket, watched)) socket.destroy();
  };
  const timer = setInterval(look, lookMs(windowMs)).unref();
  server.once('close', () => clearInterval(timer));
  return (incoming) => {
    if (!carriesBody(incoming)) return;
    const watched = sockets.get(incoming.socket);
    if (watched) watched.incoming = incoming;
  };
}

/** The time from one look to the next. */
export function lookMs(windowMs: number): number {
  return windowMs / LOOKS;
}

function isStalled(socket: Socket, { incoming, received, sent }: Watched): boolean {
  const isReceiving = incoming !== undefined && !incoming.complete && incoming.readableFlowing === true;
  const { unsent, sentBytes } = measureSending(socket);
  return hasStopped(received, isReceiving, socket.bytesRead) || hasStopped(sent, unsent > 0, sentBytes);
}

/** True if too little has moved since the mark for a whole window. The mark moves on with the bytes. */
function hasStopped(mark: Mark, isExpected: boolean, bytes: number): boolean {
  if (isExpected && bytes - mark.bytes < MIN_BYTES) return ++mark.looks >= LOOKS;
  Object.assign(mark, { bytes, looks: 0 });
  return false;
}

/**
 * What the system has taken of what was written. Node tells a write as a whole alone; the handle, whose figures Node's own
 * timeouts go by, knows how far it is within one of many megabytes.
 */
function measureSending(socket: Socket): { unsent: number; sentBytes: number } {
  const { _handle: handle } = socket as unknown as {
    _handle?: { writeQueueSize?: number; bytesWritten?: number } | null;
  };
  const queued = handle?.writeQueueSize ?? 0;
  const dispatched = handle?.bytesWritten ?? socket.bytesWritten - socket.writableLength;
  return { unsent: Math.max(queued, socket.writableLength), sentBytes: dispatched - queued };
}
