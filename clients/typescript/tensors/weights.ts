import {
  elementCount,
  encodeTensorHeader,
  parseTensorHeader,
  type TensorEntry,
} from '../../../api/domain/tensors.ts';
import type { NamedTensor, NamedTensors } from '../trainer.ts';

/**
 * The F32 tensors of a safetensors file, as views of its bytes where they are aligned, else as copies.
 * Throws when the bytes are anything else.
 */
export function decodeWeights(file: Uint8Array<ArrayBuffer>): NamedTensors {
  const parsed = parseTensorHeader(file);
  if (!parsed.ok) throw new Error(`the weights are not readable: ${parsed.reason}`);
  const { entries, headerBytes, dataBytes } = parsed.header;
  if (headerBytes + dataBytes !== file.length) throw new Error('the weights are not as long as they say');
  return new Map(entries.map((entry) => [entry.name, readTensor(file, headerBytes, entry)]));
}

function readTensor(file: Uint8Array<ArrayBuffer>, headerBytes: number, entry: TensorEntry): NamedTensor {
  const { name, dtype, shape, start } = entry;
  if (dtype !== 'F32') throw new Error(`tensor ${name} has dtype ${dtype}, not F32`);
  const offset = file.byteOffset + headerBytes + start;
  const length = elementCount(shape);
  const aligned = offset % 4 === 0;
  const values = aligned
    ? new Float32Array(file.buffer, offset, length)
    : new Float32Array(file.buffer.slice(offset, offset + length * 4));
  return { shape, values };
}

/** A safetensors file of F32 tensors, in their order. */
export function encodeWeights(tensors: NamedTensors): Uint8Array<ArrayBuffer> {
  const described = [...tensors].map(([name, { shape }]) => ({ name, shape, dtype: 'F32' as const }));
  const { head, entries, dataBytes } = encodeTensorHeader(described);
  const file = new Uint8Array(head.length + dataBytes);
  file.set(head);
  for (const { name, start } of entries) {
    const { buffer, byteOffset, byteLength } = tensors.get(name)!.values;
    file.set(new Uint8Array(buffer, byteOffset, byteLength), head.length + start);
  }
  return file;
}
