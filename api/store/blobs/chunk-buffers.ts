import { maxChunkBytes } from './blob-store.ts';

const maxIdle = 16;
const idle: Uint8Array<ArrayBuffer>[] = [];

/** A buffer of `maxChunkBytes` with any content; give it back with `returnBuffer`. */
export function takeBuffer(): Uint8Array<ArrayBuffer> {
  // Not from Node's shared slab; unzeroed, because only written bytes are ever used.
  return idle.pop() ?? new Uint8Array(Buffer.allocUnsafeSlow(maxChunkBytes).buffer);
}

export function returnBuffer(buffer: Uint8Array<ArrayBuffer>): void {
  if (idle.length < maxIdle) idle.push(buffer);
}
