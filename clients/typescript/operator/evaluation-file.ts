import { type Dtype, encodeTensorHeader } from '../../../api/domain/tensors.ts';

/** Labelled examples: `x` by rows, `y` one label a row. `U8` inputs are scaled by 1/255. */
export interface LabelledExamples {
  x: { shape: readonly number[]; values: Float32Array | Uint8Array | Int32Array };
  y: Float32Array | Uint8Array | Int32Array;
}

/** The safetensors file that the server takes as a model's evaluation set. */
export function encodeExamples({ x, y }: LabelledExamples): Uint8Array<ArrayBuffer> {
  const described = [
    { name: 'x', dtype: dtypeOf(x.values), shape: x.shape },
    { name: 'y', dtype: dtypeOf(y), shape: [y.length] },
  ];
  const { head, entries, dataBytes } = encodeTensorHeader(described);
  const file = new Uint8Array(head.length + dataBytes);
  file.set(head);
  for (const [index, values] of [x.values, y].entries()) {
    const { start, end } = entries[index]!;
    if (values.byteLength !== end - start)
      throw new Error('the examples are not as long as their shape says');
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    file.set(bytes, head.length + start);
  }
  return file;
}

function dtypeOf(values: LabelledExamples['y']): Dtype {
  if (values instanceof Float32Array) return 'F32';
  return values instanceof Uint8Array ? 'U8' : 'I32';
}
