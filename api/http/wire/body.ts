import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import { bodyOf, type DeclaredBody, type ReadBody } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { AppEnv } from '../context.ts';
import type { UploadSlots } from '../limits/upload-slots.ts';
import { gatherArrivals } from './arrivals.ts';
import { readDigest } from './digests.ts';

export const TENSOR_TYPE = 'application/octet-stream';
const LENGTH = /^\d{1,15}$/;

/**
 * Reads what a tensor upload declares of its body. Throws `unsupported_media_type` unless it is
 * application/octet-stream, `length_required`, `too_large`, and `invalid_digest` without a SHA-256 in Content-Digest.
 */
export function declaredBody(c: Context<AppEnv>, { maxBytes }: { maxBytes: number }): DeclaredBody {
  const bytes = declaredLength(c, { mediaType: TENSOR_TYPE, maxBytes });
  const digest = readDigest(c.req.header('content-digest'));
  if (digest === undefined) throw new FedEdgeError('invalid_digest');
  return { bytes, digest, body: bodyReader(c, bytes) };
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
 * Reads exactly `bytes` bytes, or throws `body_incomplete` after what there was. Begins when an upload slot is free;
 * throws `overloaded` if none becomes so.
 */
export function bodyReader(c: Context<AppEnv>, bytes: number): ReadBody {
  const { incoming, outgoing } = c.env ?? {};
  const uploads = c.get('uploads');
  if (!incoming) return exactly(bytes, uploads, webBody(c));
  return exactly(bytes, uploads, (look) => {
    if (c.req.header('expect')) outgoing?.writeContinue();
    return readIncoming(incoming, look);
  });
}

/** The same of a request that nobody has wrapped, and that waits for no `100 Continue`. */
export function incomingBody(incoming: IncomingMessage, uploads: UploadSlots, bytes: number): ReadBody {
  return exactly(bytes, uploads, (look) => readIncoming(incoming, look));
}

function exactly(bytes: number, uploads: UploadSlots, read: ReadBody): ReadBody {
  return async function* (look, begin) {
    const slot = await uploads.enter(bytes);
    let received = 0;
    const lookAt = (piece: Uint8Array) => {
      received += piece.byteLength;
      if (received > bytes) throw new FedEdgeError('body_incomplete');
      look(piece);
    };
    try {
      await begin?.();
      for await (const pieces of read(lookAt)) {
        slot.storing();
        yield pieces;
        slot.stored();
      }
      if (received < bytes) throw new FedEdgeError('body_incomplete');
    } finally {
      slot.leave();
    }
  };
}

/** Without a server, as tests ask. Node's own stream is twice as fast as the web stream around it. */
function webBody(c: Context<AppEnv>): ReadBody {
  return bodyOf(() => c.req.raw.body ?? nothing());
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function* readIncoming(
  incoming: IncomingMessage,
  look: (piece: Uint8Array) => void,
): AsyncGenerator<readonly Uint8Array[]> {
  const arrivals = gatherArrivals(incoming, look);
  try {
    for (let pieces = await arrivals.next(); pieces; pieces = await arrivals.next()) yield pieces;
  } finally {
    arrivals.stop();
  }
}
