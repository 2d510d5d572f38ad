import { createHash } from 'node:crypto';
import { encodeTensorHeader } from '../../../api/domain/tensors.ts';

/** The one tensor of the benchmarks' models. */
export const TENSOR = 'w';

export interface TensorFile {
  bytes: Uint8Array;
  /** Where its values begin. */
  dataStart: number;
  /** As Content-Digest has it. */
  contentDigest: string;
}

/** A file of so many small values that are neither equal nor zero: an update, and with the same values a version. */
export function makeTensorFile(parameters: number): TensorFile {
  const metadata = { num_examples: '100', metrics: '{"loss":0.5}', encoding: 'f32' };
  const { head, dataBytes } = encodeTensorHeader(
    [{ name: TENSOR, dtype: 'F32', shape: [parameters] }],
    metadata,
  );
  const bytes = new Uint8Array(head.length + dataBytes);
  bytes.set(head);
  bytes.set(new Uint8Array(makeValues(parameters).buffer), head.length);
  const digest = createHash('sha256').update(bytes).digest('base64');
  return { bytes, dataStart: head.length, contentDigest: `sha-256=:${digest}:` };
}

export function makeValues(parameters: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(parameters);
  for (let i = 0; i < parameters; i += 1) values[i] = ((i % 1009) - 504) * 1e-5;
  return values;
}
