import type { EncodedValues } from '../../api/domain/strategies/vector.ts';
import { dtypeBytes } from '../../api/domain/tensors.ts';

/**
 * The kernels once more, in plain TypeScript and without any cleverness: what the real ones are held against.
 */

export type Dtype = EncodedValues['dtype'];

export function decodePlain({ dtype, bytes, scale = 1 }: EncodedValues): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = dtypeBytes(dtype);
  return Float64Array.from({ length: bytes.length / size }, (_, index) => {
    if (dtype === 'F32') return view.getFloat32(index * size, true);
    if (dtype === 'BF16') return widen(view.getUint16(index * size, true));
    return scale * view.getInt8(index);
  });
}

function widen(half: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, half * 65_536);
  return view.getFloat32(0);
}

export function addPlain(target: Float64Array, offset: number, values: EncodedValues, weight: number): void {
  for (const [index, value] of decodePlain(values).entries()) target[offset + index]! += weight * value;
}

export function applyPlain(source: Float64Array, base: Float32Array, factor: number): Float32Array {
  return base.map((value, index) => Math.fround(value + factor * source[index]!));
}

export function scanPlain(tensors: readonly EncodedValues[]): { finite: boolean; norm: number } {
  let squares = 0;
  let finite = true;
  for (const tensor of tensors) {
    const values = decodePlain(tensor);
    finite &&= values.every(Number.isFinite);
    for (let start = 0; start < values.length; start += 4096) {
      const lanes = new Float64Array(8);
      for (const [index, value] of values.subarray(start, start + 4096).entries()) {
        lanes[index % 8]! += value * value;
      }
      const [a, b, c, d, e, f, g, h] = lanes as unknown as [
        number,
        number,
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      squares += a + c + (e + g) + (b + d + (f + h));
    }
  }
  return { finite, norm: Math.sqrt(squares) };
}

/** A copy of the bytes at the given distance from an 8-byte boundary, with something before and after. */
export function misaligned(bytes: Uint8Array, by: number): Uint8Array {
  const around = new Uint8Array(bytes.length + 16).fill(0xa5);
  around.set(bytes, by);
  return around.subarray(by, by + bytes.length);
}

export function f64Bytes(values: Float64Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

export function f32Bytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
