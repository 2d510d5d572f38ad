import type { EvaluationSet, Examples, Inputs } from '../../domain/ml.ts';

const BYTES = { F32: 4, I32: 4, U8: 1 } as const;

/**
 * The examples of an evaluation set, as views of its bytes where they are aligned, else copies.
 *
 * @throws when the bytes are not as long as the shape says.
 */
export function examplesOf({ x, y }: EvaluationSet): Examples {
  const { shape, dtype, bytes } = x;
  const length = shape.reduce((product, size) => product * size, 1);
  if (bytes.byteLength !== length * BYTES[dtype]) {
    throw new Error(
      `the evaluation set has ${bytes.byteLength} bytes of inputs, not ${length * BYTES[dtype]}`,
    );
  }
  return { x: { shape, dtype, values: valuesOf(dtype, bytes, length) }, y };
}

function valuesOf(dtype: Inputs['dtype'], bytes: Uint8Array, length: number): Inputs['values'] {
  if (dtype === 'U8') return bytes;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  return dtype === 'F32'
    ? new Float32Array(buffer, byteOffset, length)
    : new Int32Array(buffer, byteOffset, length);
}
