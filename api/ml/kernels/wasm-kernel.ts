import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import {
  getKernel,
  type KernelConfig,
  type NamedTensorInfoMap,
  type TensorInfo,
} from '@tensorflow/tfjs-core';

/**
 * What a kernel is given: tensors on the WebAssembly heap, the backend that owns it, and the operation's
 * attributes.
 */
export interface WasmCall<Inputs, Attributes> {
  inputs: Inputs;
  attrs: Attributes;
  backend: BackendWasm;
}
export type WasmFunction<Inputs, Attributes> = (call: WasmCall<Inputs, Attributes>) => TensorInfo;
type AnyFunction = WasmFunction<Record<string, TensorInfo>, object>;

/** Declares a kernel of ours for the wasm backend. */
export function wasmKernel<Inputs, Attributes>(
  kernelName: string,
  kernelFunc: WasmFunction<Inputs, Attributes>,
): KernelConfig {
  return {
    kernelName,
    backendName: 'wasm',
    kernelFunc: ({ inputs, attrs, backend }) =>
      kernelFunc({
        inputs: inputs as NamedTensorInfoMap as Inputs,
        attrs: attrs as Attributes,
        backend: backend as BackendWasm,
      }),
  };
}

/** The package's kernels that ours replace, by name. */
const replaced = new Map<string, KernelConfig>();

/**
 * Declares a kernel that takes the place of the package's own, which it can still call by `packageKernel`.
 */
export function replacementKernel<Inputs, Attributes>(
  kernelName: string,
  kernelFunc: WasmFunction<Inputs, Attributes>,
): KernelConfig {
  const original = replaced.get(kernelName) ?? registered(kernelName);
  replaced.set(kernelName, original);
  const kernel = wasmKernel(kernelName, kernelFunc);
  // The package's set-up binds its function in the WebAssembly module.
  return original.setupFunc ? { ...kernel, setupFunc: original.setupFunc } : kernel;
}

/** The package's kernel of that name. */
export function packageKernel(kernelName: string): AnyFunction {
  const { kernelFunc } = replaced.get(kernelName) ?? registered(kernelName);
  return kernelFunc as unknown as AnyFunction;
}

function registered(kernelName: string): KernelConfig {
  const kernel = getKernel(kernelName, 'wasm');
  if (!kernel) throw new Error(`the wasm backend has no ${kernelName} kernel`);
  return kernel;
}

/**
 * A float32 tensor's elements on the heap. Allocating may move the heap: take views after every `makeOutput`.
 */
export function floatsOf(backend: BackendWasm, tensor: TensorInfo): Float32Array {
  return backend.typedArrayFromHeap(tensor) as Float32Array;
}

/** Calls the package's transposition. The caller disposes the result. */
export function transpose(backend: BackendWasm, x: TensorInfo, perm: number[]): TensorInfo {
  return packageKernel('Transpose')({ inputs: { x }, attrs: { perm }, backend });
}
