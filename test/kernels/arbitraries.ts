import fc from 'fast-check';
import type { EncodedValues } from '../../api/domain/strategies/vector.ts';
import { dtypeBytes } from '../../api/domain/tensors.ts';
import { type Dtype, f32Bytes, misaligned } from './plain.ts';

const dtypes: readonly Dtype[] = ['F32', 'BF16', 'I8'];

/**
 * Finite values of any dtype and alignment; lengths around the vector width, the block and the staging piece.
 */
export const encodedValues: fc.Arbitrary<EncodedValues> = fc
  .record({
    dtype: fc.constantFrom(...dtypes),
    length: fc.oneof(
      fc.nat(70),
      fc.integer({ min: 4090, max: 4102 }),
      fc.integer({ min: 8190, max: 8201 }),
      fc.integer({ min: 32_760, max: 32_780 }),
      fc.integer({ min: 131_065, max: 131_080 }),
    ),
    seed: fc.integer({ min: 1, max: 2 ** 31 - 1 }),
    by: fc.nat(7),
    scale: fc.float({ min: Math.fround(-2), max: 2, noNaN: true }),
  })
  .map(({ dtype, length, seed, by, scale }) => makeValues(dtype, length, seed, by, scale));

/** Pseudo-random finite values whose magnitudes spread over nine decades. */
export function makeValues(dtype: Dtype, length: number, seed: number, by = 0, scale = 0.37): EncodedValues {
  const random = generator(seed);
  const bytes = new Uint8Array(length * dtypeBytes(dtype));
  if (dtype === 'I8') for (const index of bytes.keys()) bytes[index] = random() * 256;
  else {
    const values = Float32Array.from({ length }, () => (random() - 0.5) * 10 ** Math.floor(random() * 9 - 6));
    const words = new Uint16Array(values.buffer);
    if (dtype === 'F32') bytes.set(f32Bytes(values));
    else new Uint16Array(bytes.buffer).set(words.filter((_, index) => index % 2 === 1));
  }
  return { dtype, bytes: misaligned(bytes, by), ...(dtype === 'I8' ? { scale } : {}) };
}

/** Cuts bytes at random places, inside elements too. */
export function cutAtRandom(bytes: Uint8Array, seed: number, longest: number): Uint8Array[] {
  const random = generator(seed);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Math.floor(random() * longest) + 1;
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

/** Marsaglia's xorshift32: uniform in [0, 1). */
function generator(seed: number): () => number {
  let state = seed | 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
