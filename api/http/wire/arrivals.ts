import type { IncomingMessage } from 'node:http';
import { MAX_GATHERED_BYTES } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';

/** In so many pieces at most: a client may send a byte at a time, and every piece costs memory of its own. */
const MAX_PIECES = 64;

/** A request's body as it comes. */
export interface Arrivals {
  /**
   * What has come, in pieces that are valid until the next call; undefined after the last one. Throws `body_incomplete`
   * after what came of a body that was cut, and what `look` threw.
   */
  next(): Promise<readonly Uint8Array[] | undefined>;
  /** Frees what is held, and leaves the rest of the body where it is. The consumer must be done with its pieces. */
  stop(): void;
}

/**
 * Shows every piece to `look` when it comes, while the processor has it at hand, and gathers them for a consumer that
 * would rather have many at once. Node's own iterator would destroy the socket when its consumer stops early, and with it
 * the answer that says why. A body that does not move is cut by progress.ts.
 */
export function gatherArrivals(incoming: IncomingMessage, look: (piece: Uint8Array) => void): Arrivals {
  let gathered: Uint8Array[] = [];
  let bytes = 0;
  let handedOut: readonly Uint8Array[] = [];
  let ended = false;
  let fault: unknown;
  let wake: (() => void) | undefined;

  const isFull = () => bytes >= MAX_GATHERED_BYTES || gathered.length >= MAX_PIECES;
  const isOver = () => ended || fault !== undefined;

  function hand(): void {
    wake?.();
    wake = undefined;
  }

  function onData(piece: Uint8Array): void {
    if (fault !== undefined) return;
    try {
      look(piece);
      gathered.push(piece);
      bytes += piece.byteLength;
    } catch (error) {
      fault = error;
    }
    if (!isFull() && !isOver()) return;
    incoming.pause();
    hand();
  }

  function onEnd(): void {
    ended = true;
    hand();
  }

  function onClose(): void {
    incoming.off('data', onData);
    // What had arrived before the cut is still in the stream, which will not hand it out by itself any more.
    for (let left = incoming.read(); left !== null; left = incoming.read()) onData(left);
    if (!isOver()) fault = new FedEdgeError('body_incomplete');
    hand();
  }

  function take(): readonly Uint8Array[] {
    handedOut = gathered;
    gathered = [];
    bytes = 0;
    return handedOut;
  }

  function giveBack(): void {
    handedOut.forEach(freePiece);
    handedOut = [];
  }

  if (incoming.readableEnded) onEnd();
  else if (incoming.destroyed) onClose();
  incoming.on('data', onData).on('end', onEnd).on('close', onClose);
  if (!isOver() && incoming.isPaused()) incoming.resume();
  return {
    async next() {
      giveBack();
      if (!isFull() && !isOver()) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (gathered.length > 0) {
        const pieces = take();
        if (!isOver() && incoming.isPaused()) incoming.resume();
        return pieces;
      }
      if (fault !== undefined) throw fault;
      return undefined;
    },
    stop() {
      incoming.off('data', onData).off('end', onEnd).off('close', onClose).pause();
      giveBack();
      gathered.forEach(freePiece);
      gathered = [];
    },
  };
}

/** Node makes a buffer for every piece; left to the garbage collector they are tens of megabytes at any time. */
function freePiece({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
