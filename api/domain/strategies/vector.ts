/** What a strategy computes with. The domain declares it; `api/kernels` implements it in WebAssembly. */

/** A vector of f64 elements that lives where the kernels reach it. */
export interface Vector {
  readonly length: number;
}

/** Little-endian elements as they stand in a tensor file. `scale` belongs to I8: value = scale * element. */
export interface EncodedValues {
  dtype: 'F32' | 'BF16' | 'I8';
  bytes: Uint8Array;
  scale?: number;
}

/** All operations are elementwise in index order: their bits depend on the data alone, never on how it was cut. */
export interface VectorKernels {
  /** A vector of zeros. Throws RangeError where memory does not suffice. */
  zeros(length: number): Vector;
  release(vector: Vector): void;
  /** target[offset + i] += weight * decode(values)[i], in f64. */
  addScaled(target: Vector, offset: number, values: EncodedValues, weight: number): void;
  /** f32(base[i] + factor * source[offset + i]) as F32 bytes; `finite` is false if any result is NaN or infinite. */
  applyScaled(
    source: Vector,
    offset: number,
    base: Uint8Array,
    factor: number,
  ): { bytes: Uint8Array; finite: boolean };
  /** The f64 bytes of `length` elements from `offset`: a copy that the caller owns. */
  save(source: Vector, offset: number, length: number): Uint8Array;
  /** The inverse of `save`. */
  load(target: Vector, offset: number, bytes: Uint8Array): void;
}
