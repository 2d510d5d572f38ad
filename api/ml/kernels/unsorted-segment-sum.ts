import { type TensorInfo, UnsortedSegmentSum } from '@tensorflow/tfjs-core';
import { type WasmCall, wasmKernel } from './wasm-kernel.ts';

/**
 * Adds the rows of `x` that carry the same segment id; ids outside [0, numSegments) are dropped. The gradient
 * of a gather, so of every Embedding.
 */
export const unsortedSegmentSum = wasmKernel(
  UnsortedSegmentSum,
  ({
    inputs,
    attrs,
    backend,
  }: WasmCall<{ x: TensorInfo; segmentIds: TensorInfo }, { numSegments: number }>) => {
    const { x, segmentIds } = inputs;
    const rowShape = x.shape.slice(segmentIds.shape.length);
    const output = backend.makeOutput([attrs.numSegments, ...rowShape], x.dtype);
    const width = rowShape.reduce((product, size) => product * size, 1);
    const ids = backend.typedArrayFromHeap(segmentIds);
    const values = backend.typedArrayFromHeap(x);
    const sums = backend.typedArrayFromHeap(output).fill(0);
    for (let row = 0; row < ids.length; row++) {
      const segment = ids[row]!;
      if (segment < 0 || segment >= attrs.numSegments) continue;
      for (let i = 0, from = row * width, to = segment * width; i < width; i++) {
        sums[to + i] = sums[to + i]! + values[from + i]!;
      }
    }
    return output;
  },
);
