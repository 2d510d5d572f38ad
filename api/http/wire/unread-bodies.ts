import type { IncomingMessage } from 'node:http';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createMiddleware } from 'hono/factory';
import type { AppEnv } from '../context.ts';

const MAX_DRAIN_BYTES = 256 * 1024;
const MAX_DRAIN_MS = 500;
/** Longest time that a JSON body may take to arrive. */
const JSON_MS = 30_000;

/**
 * Answers given before the request's body was read. The rest of that body must not be taken for the next request, and
 * closing at once would make the client's system throw the answer away (a reset overtakes it): the answer is sent whole,
 * with `Connection: close`, and then the connection stays for a moment while a bounded part of the body is dropped.
 */
export const closeUnreadBodies = createMiddleware<AppEnv>(async (c, next) => {
  const incoming = c.env?.incoming;
  if (!incoming || !carriesBody(incoming)) return next();
  const late = limitJsonTime(incoming);
  try {
    await next();
  } finally {
    clearTimeout(late);
  }
  // A short body that came together with its head is complete a moment after the head was handed to us.
  if (!incoming.complete) await nextTurn();
  if (incoming.complete || incoming.destroyed || c.env.outgoing?.headersSent) return;
  const { status, headers } = c.res;
  // The answer to a GET may be a stream without an end; its body has no meaning anyway.
  if (incoming.method === 'GET') return headers.set('connection', 'close');
  const answer = new Uint8Array(await c.res.arrayBuffer());
  headers.set('connection', 'close');
  headers.set('content-length', String(answer.byteLength));
  c.res = undefined;
  c.res = new Response(linger(answer, incoming), { status, headers });
});

/** Whether the request declares a body. */
export function carriesBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function limitJsonTime(incoming: IncomingMessage): NodeJS.Timeout | undefined {
  if (!incoming.headers['content-type']?.startsWith('application/json')) return undefined;
  return setTimeout(() => {
    if (!incoming.complete) incoming.destroy();
  }, JSON_MS);
}

/** The answer at once, its end when the client is done with sending, or when we no longer wait for it. */
function linger(answer: Uint8Array<ArrayBuffer>, incoming: IncomingMessage): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        if (answer.byteLength > 0) controller.enqueue(answer);
      },
      async pull(controller) {
        await dropBody(incoming);
        controller.close();
      },
    },
    { highWaterMark: 1 },
  );
}

function dropBody(incoming: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let dropped = 0;
    const onData = (chunk: Uint8Array) => {
      dropped += chunk.byteLength;
      // The client's system now holds its bytes back; what was answered still reaches it.
      if (dropped > MAX_DRAIN_BYTES) incoming.pause();
    };
    const done = () => {
      clearTimeout(timer);
      incoming.off('data', onData).off('end', done).off('close', done);
      resolve();
    };
    const timer = setTimeout(done, MAX_DRAIN_MS);
    incoming.on('data', onData).on('end', done).on('close', done).resume();
  });
}
