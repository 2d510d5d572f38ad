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
  /** Both ways together. */
  moved: Mark;
}

/**
 * Closes connections whose client sends a body, or takes an answer, so slowly that nothing moves for `stalledMs`. Who
 * waits for us, in a long poll or at an event stream, is left alone, and so is a body that we do not want to read yet,
 * unless nothing at all passes for `silentMs`, longer than anybody waits. (Node's own `server.timeout` would set and
 * refresh a timer for that in every request.) Call what it returns with every request.
 */
export function closeStalled(
  server: Server,
  { stalledMs, silentMs }: { stalledMs: number; silentMs: number },
): (incoming: IncomingMessage) => void {
  // One more: the first may come right after the connection.
  const silentLooks = Math.ceil(silentMs / lookMs(stalledMs)) + 1;
  const sockets = new Map<Socket, Watched>();
  server.on('connection', (socket: Socket) => {
    sockets.set(socket, { incoming: undefined, received: newMark(), sent: newMark(), moved: newMark() });
    socket.once('close', () => sockets.delete(socket));
  });
  const look = () => {
    for (const [socket, watched] of sockets) if (isStalled(socket, watched, silentLooks)) socket.destroy();
  };
  const timer = setInterval(look, lookMs(stalledMs)).unref();
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

function newMark(): Mark {
  return { bytes: 0, looks: 0 };
}

function isStalled(
  socket: Socket,
  { incoming, received, sent, moved }: Watched,
  silentLooks: number,
): boolean {
  const isReceiving = incoming !== undefined && !incoming.complete && incoming.readableFlowing === true;
  const { unsent, sentBytes } = measureSending(socket);
  return (
    looksStopped(received, isReceiving, socket.bytesRead) >= LOOKS ||
    looksStopped(sent, unsent > 0, sentBytes) >= LOOKS ||
    looksStopped(moved, true, socket.bytesRead + sentBytes, 1) >= silentLooks
  );
}

/** For how many looks less than `least` bytes have moved that were to move. The mark moves on with the bytes. */
function looksStopped(mark: Mark, isExpected: boolean, bytes: number, least: number = MIN_BYTES): number {
  if (isExpected && bytes - mark.bytes < least) mark.looks += 1;
  else Object.assign(mark, { bytes, looks: 0 });
  return mark.looks;
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
