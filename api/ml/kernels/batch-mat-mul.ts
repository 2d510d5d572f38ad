import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { BatchMatMul, type KernelConfig, type TensorInfo } from '@tensorflow/tfjs-core';
import { packageKernel, replacementKernel, transpose, type WasmCall } from './wasm-kernel.ts';

interface Attributes {
  transposeA: boolean;
  transposeB: boolean;
}
type Inputs = { a: TensorInfo; b: TensorInfo };

/** Fewer multiplications than this are not worth a transposed copy. */
const MIN_PRODUCT = 1 << 14;

/**
 * Wraps the package's own product: it has a SIMD path (XNNPACK) only for operands that are not transposed,
 * and every gradient of a dense layer has a transposed one. A transposed copy and the SIMD path halve a
 * training step.
 */
export function batchMatMul(): KernelConfig {
  return replacementKernel(BatchMatMul, ({ inputs, attrs, backend }: WasmCall<Inputs, Attributes>) =>
    multiply(backend, inputs, attrs),
  );
}

/** a * b over the last two dimensions, each optionally transposed. */
export function multiply(backend: BackendWasm, { a, b }: Inputs, attrs: Attributes): TensorInfo {
  const product = packageKernel(BatchMatMul);
  if (!(attrs.transposeA || attrs.transposeB) || !isWorthCopies(a, b, attrs)) {
    return product({ inputs: { a, b }, attrs, backend });
  }
  const left = attrs.transposeA ? transpose(backend, a, lastTwoSwapped(a)) : a;
  const right = attrs.transposeB ? transpose(backend, b, lastTwoSwapped(b)) : b;
  const plain = { transposeA: false, transposeB: false };
  const result = product({ inputs: { a: left, b: right }, attrs: plain, backend });
  if (left !== a) backend.disposeData(left.dataId);
  if (right !== b) backend.disposeData(right.dataId);
  return result;
}

function isWorthCopies(a: TensorInfo, b: TensorInfo, { transposeA, transposeB }: Attributes): boolean {
  const outer = [...a.shape.slice(0, -2), ...b.shape.slice(0, -2)];
  const rows = a.shape.at(transposeA ? -1 : -2)!;
  const inner = a.shape.at(transposeA ? -2 : -1)!;
  const columns = b.shape.at(transposeB ? -2 : -1)!;
  return outer.every((size) => size === 1) && rows * inner * columns >= MIN_PRODUCT;
}

function lastTwoSwapped({ shape }: TensorInfo): number[] {
  const axes = shape.map((_, axis) => axis);
  return [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!];
}
