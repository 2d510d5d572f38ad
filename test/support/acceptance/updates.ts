import {
  encodeFile,
  type FileTensor,
  fromBf16Bytes,
  fromF32Bytes,
  toBf16Bytes,
  toF32Bytes,
} from './tensor-files.ts';

/** An update as the test made it: what the server should have folded. */
export interface MadeUpdate {
  file: Buffer;
  /** In the order of the manifest. */
  values: Float32Array;
  numExamples: number;
  loss: number;
}

export interface Layout {
  name: string;
  shape: readonly number[];
}

export function sizeOf(layout: readonly Layout[]): number {
  return layout.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}

/** An update by seed: values, examples, encoding and the order of its tensors. */
export function makeUpdate(layout: readonly Layout[], seed: number): MadeUpdate {
  const random = createRandom(seed);
  const encoding = random() < 0.7 ? 'f32' : 'bf16';
  const numExamples = 1 + Math.floor(random() * 400);
  const loss = random();
  const tensors = layout.map(({ name, shape }) => {
    const values = Float32Array.from({ length: sizeOf([{ name, shape }]) }, () => random() - 0.5);
    return encoding === 'f32'
      ? { name, shape, dtype: 'F32' as const, data: toF32Bytes(values) }
      : { name, shape, dtype: 'BF16' as const, data: toBf16Bytes(values) };
  });
  const values = tensors.flatMap(({ dtype, data }) => [
    ...(dtype === 'F32' ? fromF32Bytes(data) : fromBf16Bytes(data)),
  ]);
  const sent: FileTensor[] = random() < 0.5 ? tensors : tensors.toReversed();
  const metadata = { num_examples: String(numExamples), metrics: JSON.stringify({ loss }), encoding };
  return { file: encodeFile(sent, metadata), values: Float32Array.from(values), numExamples, loss };
}

/** Base weights by seed. */
export function makeWeights(layout: readonly Layout[], seed: number): Buffer {
  const random = createRandom(seed);
  return encodeFile(
    layout.map(({ name, shape }) => {
      const values = Array.from({ length: sizeOf([{ name, shape }]) }, () => random() * 2 - 1);
      return { name, shape, dtype: 'F32' as const, data: toF32Bytes(values) };
    }),
  );
}

/** mulberry32: uniform in [0, 1). */
function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/**
 * Federated averaging as the contract says it: in f64, in the recorded sequence, w' = f32(w + sum(n d) * (1 / sum(n))).
 * The bytes of an undisturbed fold.
 */
export function foldVersion(
  base: Float32Array,
  updates: readonly { values: Float32Array; weight: number }[],
): Buffer {
  const sum = new Float64Array(base.length);
  let total = 0;
  for (const { values, weight } of updates) {
    total += weight;
    for (let i = 0; i < sum.length; i += 1) sum[i]! += weight * values[i]!;
  }
  const factor = 1 / total;
  return toF32Bytes(base.map((value, i) => value + sum[i]! * factor));
}
