import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import { FedEdgeError } from '../../domain/errors.ts';
import type { DeclaredBody } from '../../domain/update.ts';
import type { AppEnv } from '../context.ts';
import { readDigest } from './digests.ts';

/**
 * A body waits in memory up to here while its consumer is busy: two chunks. What many bodies hold together decides how
 * often V8 looks through its heap; with four times as much it took a fifth of a round of 32 devices.
 */
const HIGH_WATER_BYTES = 1 << 17;
const LENGTH = /^\d{1,15}$/;

/**
 * Reads what a tensor upload declares of its body. Throws `unsupported_media_type` unless it is
 * application/octet-stream, `length_required`, `too_large`, and `invalid_digest` without a SHA-256 in Content-Digest.
 */
export function declaredBody(c: Context<AppEnv>, { maxBytes }: { maxBytes: number }): DeclaredBody {
  const bytes = declaredLength(c, { mediaType: 'application/octet-stream', maxBytes });
  const digest = readDigest(c.req.header('content-digest'));
  if (digest === undefined) throw new FedEdgeError('invalid_digest');
  return { bytes, digest, body: () => readBody(c, bytes) };
}

/** The length of a body of this media type. Throws `unsupported_media_type`, `length_required`, `too_large`. */
export function declaredLength(
  c: Context<AppEnv>,
  { mediaType, maxBytes }: { mediaType: string; maxBytes: number },
): number {
  const type = c.req.header('content-type')?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== mediaType) throw new FedEdgeError('unsupported_media_type', { expected: mediaType });
  const length = c.req.header('content-length');
  if (length === undefined || !LENGTH.test(length)) throw new FedEdgeError('length_required');
  const bytes = Number(length);
  if (bytes > maxBytes) throw new FedEdgeError('too_large', { maxBytes });
  return bytes;
}

/**
 * The body in chunks: exactly `bytes` bytes, or a `body_incomplete` is thrown after what there was. Begins when an upload
 * slot is free; throws `overloaded` if none becomes so.
 */
export async function* readBody(c: Context<AppEnv>, bytes: number): AsyncGenerator<Uint8Array> {
  const leave = await c.var.uploads.enter();
  try {
    let received = 0;
    for await (const chunk of openBody(c)) {
      received += chunk.byteLength;
      if (received > bytes) throw new FedEdgeError('body_incomplete');
      yield chunk;
    }
    if (received < bytes) throw new FedEdgeError('body_incomplete');
  } finally {
    leave();
  }
}

/** Node's own stream where there is one: the web stream around it halves the throughput. */
function openBody(c: Context<AppEnv>): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  const { incoming, outgoing } = c.env ?? {};
  if (!incoming) return c.req.raw.body ?? [];
  if (c.req.header('expect')) outgoing?.writeContinue();
  return readIncoming(incoming);
}

/**
 * Node's own iterator would destroy the socket when its consumer stops early, and with it the answer that says why.
 */
async function* readIncoming(incoming: IncomingMessage): AsyncGenerator<Uint8Array> {
  const arrivals = gatherArrivals(incoming);
  try {
    while (true) {
      const chunk = arrivals.take();
      if (chunk) {
        yield chunk;
        freeChunk(chunk);
      } else if (arrivals.state === 'ended') return;
      else if (arrivals.state === 'cut') throw new FedEdgeError('body_incomplete');
      else await arrivals.more();
    }
  } finally {
    arrivals.stop();
  }
}

/** Node makes a buffer for every chunk; left to the garbage collector they are tens of megabytes at any time. */
function freeChunk({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** 'data' events into a short queue, with pauses while it is full. A body that does not move is cut by progress.ts. */
function gatherArrivals(incoming: IncomingMessage) {
  const queue: Uint8Array[] = [];
  let queuedBytes = 0;
  let wake = () => {};
  const arrivals = {
    state: 'open' as 'open' | 'ended' | 'cut',
    take(): Uint8Array | undefined {
      const chunk = queue.shift();
      queuedBytes -= chunk?.byteLength ?? 0;
      return chunk;
    },
    more(): Promise<void> {
      if (incoming.isPaused()) incoming.resume();
      return new Promise((resolve) => {
        wake = resolve;
      });
    },
    stop(): void {
      incoming.off('data', onData).off('end', onEnd).off('close', onClose).pause();
    },
  };
  function onData(chunk: Uint8Array): void {
    queue.push(chunk);
    queuedBytes += chunk.byteLength;
    if (queuedBytes >= HIGH_WATER_BYTES) incoming.pause();
    wake();
  }
  function onEnd(): void {
    arrivals.state = 'ended';
    wake();
  }
  function onClose(): void {
    incoming.off('data', onData);
    // What had arrived before the cut is still in the stream, which will not hand it out by itself any more.
    for (let rest = incoming.read(); rest !== null; rest = incoming.read()) queue.push(rest);
    if (arrivals.state === 'open') arrivals.state = 'cut';
    wake();
  }
  if (incoming.readableEnded) onEnd();
  else if (incoming.destroyed) onClose();
  incoming.on('data', onData).on('end', onEnd).on('close', onClose);
  return arrivals;
}
