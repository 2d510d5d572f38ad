import {
  backend_util,
  DepthwiseConv2dNativeBackpropFilter,
  DepthwiseConv2dNativeBackpropInput,
  type TensorInfo,
} from '@tensorflow/tfjs-core';
import { floatsOf, type WasmCall, wasmKernel } from './wasm-kernel.ts';

type Shape4 = [number, number, number, number];
interface Attributes {
  strides: [number, number] | number;
  dilations: [number, number] | number;
  pad: 'valid' | 'same' | number | backend_util.ExplicitPadding;
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
}

/**
 * The gradient of a depthwise convolution by its filter; sums in f64, as one filter element has a term a
 * pixel.
 */
export const depthwiseBackpropFilter = wasmKernel(
  DepthwiseConv2dNativeBackpropFilter,
  ({
    inputs,
    attrs,
    backend,
  }: WasmCall<{ x: TensorInfo; dy: TensorInfo }, Attributes & { filterShape: Shape4 }>) => {
    const conv = convolution(inputs.x.shape as Shape4, attrs.filterShape, attrs);
    const gradient = backend.makeOutput(attrs.filterShape, 'float32');
    const x = floatsOf(backend, inputs.x);
    const dy = floatsOf(backend, inputs.dy);
    const sums = new Float64Array(attrs.filterShape.reduce((product, size) => product * size));
    const { inChannels, outChannels } = conv;
    const multiplier = outChannels / inChannels;
    forEachTap(conv, (xAt, dyAt, filterAt) => {
      for (let c = 0, k = 0; c < inChannels; c++) {
        const pixel = x[xAt + c]!;
        for (let q = 0; q < multiplier; q++, k++)
          sums[filterAt + k] = sums[filterAt + k]! + pixel * dy[dyAt + k]!;
      }
    });
    floatsOf(backend, gradient).set(sums);
    return gradient;
  },
);

/** The gradient of a depthwise convolution by its input. */
export const depthwiseBackpropInput = wasmKernel(
  DepthwiseConv2dNativeBackpropInput,
  ({
    inputs,
    attrs,
    backend,
  }: WasmCall<{ dy: TensorInfo; filter: TensorInfo }, Attributes & { inputShape: Shape4 }>) => {
    const conv = convolution(attrs.inputShape, inputs.filter.shape as Shape4, attrs);
    const gradient = backend.makeOutput(attrs.inputShape, 'float32');
    const dx = floatsOf(backend, gradient).fill(0);
    const dy = floatsOf(backend, inputs.dy);
    const filter = floatsOf(backend, inputs.filter);
    const { inChannels, outChannels } = conv;
    const multiplier = outChannels / inChannels;
    forEachTap(conv, (xAt, dyAt, filterAt) => {
      for (let c = 0, k = 0; c < inChannels; c++) {
        let sum = dx[xAt + c]!;
        for (let q = 0; q < multiplier; q++, k++) sum += dy[dyAt + k]! * filter[filterAt + k]!;
        dx[xAt + c] = sum;
      }
    });
    return gradient;
  },
);

function convolution(inputShape: Shape4, filterShape: Shape4, attrs: Attributes): backend_util.Conv2DInfo {
  const { strides, dilations, pad, dimRoundingMode } = attrs;
  return backend_util.computeConv2DInfo(
    inputShape,
    filterShape,
    strides,
    dilations,
    pad,
    dimRoundingMode,
    true,
  );
}

/**
 * Visits every (pixel, output, filter tap) that meet inside the image, as offsets of their first channel in
 * the input, the output and the filter.
 */
function forEachTap(
  conv: backend_util.Conv2DInfo,
  visit: (inputAt: number, outputAt: number, filterAt: number) => void,
): void {
  const { batchSize, inHeight, inWidth, inChannels, outHeight, outWidth, outChannels } = conv;
  const { filterHeight, filterWidth, strideHeight, strideWidth, dilationHeight, dilationWidth, padInfo } =
    conv;
  for (let n = 0; n < batchSize; n++) {
    for (let oy = 0; oy < outHeight; oy++) {
      for (let ox = 0; ox < outWidth; ox++) {
        const outputAt = ((n * outHeight + oy) * outWidth + ox) * outChannels;
        for (let fy = 0; fy < filterHeight; fy++) {
          const y = oy * strideHeight - padInfo.top + fy * dilationHeight;
          if (y < 0 || y >= inHeight) continue;
          for (let fx = 0; fx < filterWidth; fx++) {
            const x = ox * strideWidth - padInfo.left + fx * dilationWidth;
            if (x < 0 || x >= inWidth) continue;
            visit(
              ((n * inHeight + y) * inWidth + x) * inChannels,
              outputAt,
              (fy * filterWidth + fx) * outChannels,
            );
          }
        }
      }
    }
  }
}
