import type { Examples } from '../../api/domain/ml.ts';
import { createRandom } from '../../api/domain/random.ts';

/** Learnable examples of three classes: the inputs of a class lie around a point of its own. */
export function makeExamples(shape: number[], count: number, dtype: 'F32' | 'U8' | 'I32' = 'F32'): Examples {
  const random = createRandom(5);
  const width = shape.reduce((product, size) => product * size, 1);
  const y = Int32Array.from({ length: count }, () => Math.floor(random() * 3));
  const value = (index: number): number => {
    const label = y[Math.floor(index / width)]!;
    const level = ((index % width) + label * 5) % 7;
    if (dtype === 'I32') return (label * 6 + Math.floor(random() * 8)) % 20;
    return dtype === 'U8' ? Math.floor(level * 20 + random() * 120) : level / 7 + random() - 0.8;
  };
  const View = { F32: Float32Array, U8: Uint8Array, I32: Int32Array }[dtype];
  const values = new View(count * width);
  for (let index = 0; index < values.length; index++) values[index] = value(index);
  return { x: { shape: [count, ...shape], dtype, values }, y };
}
