import { elementCount, encodeTensorHeader } from '../../../api/domain/tensors.ts';
import type { Manifest } from '../generated/types.gen.ts';
import type { NamedTensor, NamedTensors, Training } from '../trainer.ts';
import { finiteMetrics } from './finite-metrics.ts';

export type Encoding = 'f32' | 'bf16';

const DTYPES = { f32: 'F32', bf16: 'BF16' } as const;
/** Of bf16's rounding: half of the bits that fall away. */
const HALF = 0x7fff;

/** Bytes of a file in which the tensors' data begins on a boundary of 8. */
interface Place {
  buffer: ArrayBuffer;
  offset: number;
}

/**
 * The update as a safetensors file: for each tensor that travels the trained minus the received values, and what the
 * server asks for in `__metadata__`. Throws when a tensor is missing, has another shape, or is not finite.
 */
export function encodeUpdate(
  manifest: Manifest,
  received: NamedTensors,
  training: Training,
  encoding: Encoding,
): Uint8Array<ArrayBuffer> {
  const travelling = manifest.tensors.filter(({ role }) => role !== 'local');
  const described = travelling.map(({ name, shape }) => ({ name, shape, dtype: DTYPES[encoding] }));
  const { head, entries, dataBytes } = encodeTensorHeader(described, metadataOf(training, encoding));
  const file = new Uint8Array(head.length + dataBytes);
  file.set(head);
  const write = encoding === 'f32' ? writeF32 : writeBf16;
  for (const { name, shape, start } of entries) {
    const before = tensorOf(received, name, shape);
    const after = tensorOf(training.weights, name, shape);
    const finite = write({ buffer: file.buffer, offset: head.length + start }, before, after);
    if (!finite) throw new Error(`the training result is not finite in tensor ${name}`);
  }
  return file;
}

function metadataOf(
  { numExamples, metrics, scalars = {} }: Training,
  encoding: Encoding,
): Record<string, string> {
  return {
    ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, String(value)])),
    num_examples: String(numExamples),
    metrics: JSON.stringify(finiteMetrics(metrics)),
    encoding,
  };
}

function tensorOf(tensors: NamedTensors, name: string, shape: readonly number[]): NamedTensor {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`tensor ${name} is missing`);
  if (tensor.values.length !== elementCount(shape) || tensor.shape.join() !== shape.join()) {
    throw new Error(`tensor ${name} has shape [${tensor.shape}], not [${shape}]`);
  }
  return tensor;
}

function writeF32({ buffer, offset }: Place, before: NamedTensor, after: NamedTensor): boolean {
  const delta = new Float32Array(buffer, offset, after.values.length);
  // Zero times anything that is not finite is NaN, which stays in the sum: one test instead of one for each.
  let doubt = 0;
  for (let i = 0; i < delta.length; i++) {
    const value = Math.fround(after.values[i]! - before.values[i]!);
    delta[i] = value;
    doubt += value * 0;
  }
  return doubt === 0;
}

/** Rounds to nearest, ties to even, as training frameworks do. */
function writeBf16({ buffer, offset }: Place, before: NamedTensor, after: NamedTensor): boolean {
  const delta = new Uint16Array(buffer, offset, after.values.length);
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  let doubt = 0;
  for (let i = 0; i < delta.length; i++) {
    value[0] = after.values[i]! - before.values[i]!;
    const word = bits[0]!;
    const rounded = (word + HALF + ((word >>> 16) & 1)) >>> 16;
    delta[i] = rounded;
    bits[0] = rounded << 16;
    doubt += value[0]! * 0;
  }
  return doubt === 0;
}
