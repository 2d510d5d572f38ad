import type { EncodedValues, Vector, VectorKernels } from '../domain/strategies/vector.ts';
import { dtypeBytes } from '../domain/tensors.ts';
import { instantiate, type KernelModule, LAYOUT, STAGING_BYTES, scaleOf, WINDOW_BYTES } from './module.ts';
import { createRegions } from './regions.ts';
import { createScanner, type Scanner } from './scanners.ts';

const F64_BYTES = 8;
const F32_BYTES = 4;

/**
 * The vector kernels in WebAssembly, for one thread. Vectors live in the instance's own memory (8 bytes an
 * element, up to 4 GiB together), which grows and never shrinks: released vectors make room for the next
 * ones.
 *
 * Offsets and lengths that do not fit throw RangeError, as does a released vector.
 */
export interface Kernels extends VectorKernels {
  createScanner(): Scanner;
  /**
   * Memory to read a file's piece into: addScaled takes values that lie there without copying them. The view is valid
   * until a vector is made, which may move the memory.
   */
  window(): Uint8Array;
  /** target[i] *= factor, in f64. */
  scale(target: Vector, factor: number): void;
  /** The values as F32 bytes; I8 is scaled in f64 and rounded once. A copy that the caller owns. */
  decode(values: EncodedValues): Uint8Array;
}

type Place = (vector: Vector, offset: number, length: number) => number;

/** Instantiates the committed kernels.wasm, synchronously. */
export function createKernels(): Kernels {
  const module = instantiate();
  const regions = createRegions(module.memory, LAYOUT.vectors);
  const addresses = new Map<Vector, number>();

  const place: Place = (vector, offset, length) => {
    const address = addresses.get(vector);
    if (address === undefined) throw new RangeError('the vector was released or belongs to other kernels');
    if (!(Number.isInteger(offset) && offset >= 0 && offset + length <= vector.length)) {
      throw new RangeError(`elements [${offset}, ${offset + length}) leave a vector of ${vector.length}`);
    }
    return address + offset * F64_BYTES;
  };

  return {
    zeros(length) {
      if (!(Number.isSafeInteger(length) && length >= 0))
        throw new RangeError(`no vector has ${length} elements`);
      const vector = { length };
      addresses.set(vector, regions.allocate(length * F64_BYTES));
      return vector;
    },
    release(vector) {
      regions.free(place(vector, 0, 0));
      addresses.delete(vector);
    },
    ...elementwise(module, place),
    save: (source, offset, length) => module.view(place(source, offset, length), length * F64_BYTES).slice(),
    load(target, offset, bytes) {
      module.write(place(target, offset, wholeElements(bytes, F64_BYTES)), bytes);
    },
    createScanner: () => createScanner(module),
    window: () => module.view(LAYOUT.window, WINDOW_BYTES),
  };
}

/** The kernels that go over values piece by piece, through the staging area. */
function elementwise(
  module: KernelModule,
  place: Place,
): Pick<Kernels, 'addScaled' | 'applyScaled' | 'scale' | 'decode'> {
  return {
    addScaled(target, offset, values, weight) {
      const { dtype, bytes } = values;
      const scale = scaleOf(dtype, values.scale);
      const elementBytes = dtypeBytes(dtype);
      const address = place(target, offset, wholeElements(bytes, elementBytes));
      if (bytes.buffer === module.memory.buffer) {
        module.add[dtype](address, bytes.byteOffset, bytes.length / elementBytes, weight, scale);
        return;
      }
      for (let start = 0; start < bytes.length; start += STAGING_BYTES) {
        const piece = bytes.subarray(start, start + STAGING_BYTES);
        module.write(LAYOUT.input, piece);
        const at = address + (start / elementBytes) * F64_BYTES;
        module.add[dtype](at, LAYOUT.input, piece.length / elementBytes, weight, scale);
      }
    },
    applyScaled(source, offset, base, factor) {
      const address = place(source, offset, wholeElements(base, F32_BYTES));
      const bytes = ownedBytes(base.length);
      let finite = true;
      for (let start = 0; start < base.length; start += STAGING_BYTES) {
        const piece = base.subarray(start, start + STAGING_BYTES);
        const at = address + start * (F64_BYTES / F32_BYTES);
        module.write(LAYOUT.input, piece);
        if (!module.apply(at, LAYOUT.input, LAYOUT.output, piece.length / F32_BYTES, factor)) finite = false;
        bytes.set(module.view(LAYOUT.output, piece.length), start);
      }
      return { bytes, finite };
    },
    scale(target, factor) {
      module.scale(place(target, 0, target.length), target.length, factor);
    },
    decode(values) {
      const { dtype, bytes } = values;
      const count = wholeElements(bytes, dtypeBytes(dtype));
      // Not slice(): a Buffer's would share its bytes.
      if (dtype === 'F32') return new Uint8Array(bytes);
      return decodePieces(module, { dtype, bytes, scale: scaleOf(dtype, values.scale) }, count);
    },
  };
}

function decodePieces(
  module: KernelModule,
  { dtype, bytes, scale }: { dtype: 'BF16' | 'I8'; bytes: Uint8Array; scale: number },
  count: number,
): Uint8Array {
  const elementBytes = dtypeBytes(dtype);
  const decoded = ownedBytes(count * F32_BYTES);
  const step = STAGING_BYTES / F32_BYTES;
  for (let first = 0; first < count; first += step) {
    const size = Math.min(step, count - first);
    module.write(LAYOUT.input, bytes.subarray(first * elementBytes, (first + size) * elementBytes));
    module.decode[dtype](LAYOUT.input, LAYOUT.output, size, scale);
    decoded.set(module.view(LAYOUT.output, size * F32_BYTES), first * F32_BYTES);
  }
  return decoded;
}

/** Uninitialised and outside Node's shared pool, so that it can be transferred to another thread. */
function ownedBytes(length: number): Uint8Array {
  return Buffer.allocUnsafeSlow(length);
}

function wholeElements(bytes: Uint8Array, elementBytes: number): number {
  if (bytes.length % elementBytes !== 0) throw new RangeError(`${bytes.length} bytes end inside an element`);
  return bytes.length / elementBytes;
}
