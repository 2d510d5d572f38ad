import { registerKernel, unregisterKernel } from '@tensorflow/tfjs-core';
import { batchMatMul } from './batch-mat-mul.ts';
import { conv2dBackpropFilter } from './conv2d-backprop-filter.ts';
import { conv2dBackpropInput } from './conv2d-backprop-input.ts';
import { depthwiseBackpropFilter, depthwiseBackpropInput } from './depthwise-backprop.ts';
import { unsortedSegmentSum } from './unsorted-segment-sum.ts';

/** Kernels that training needs and the package lacks. */
const missing = [conv2dBackpropFilter, depthwiseBackpropFilter, depthwiseBackpropInput, unsortedSegmentSum];

/**
 * Gives the wasm backend the kernels that training needs and its package lacks, and faster ones for two that
 * it has. To be called once, after the package registered its own. What stays missing (Einsum, which
 * attention layers use) fails with the kernel's name.
 */
export function registerWasmKernels(): void {
  for (const kernel of [batchMatMul(), conv2dBackpropInput()]) {
    unregisterKernel(kernel.kernelName, kernel.backendName);
    registerKernel(kernel);
  }
  for (const kernel of missing) registerKernel(kernel);
}
