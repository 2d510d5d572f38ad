import type { BackendWasm } from '@tensorflow/tfjs-backend-wasm';
import { backend_util, Conv2DBackpropFilter, type TensorInfo } from '@tensorflow/tfjs-core';
import { multiply } from './batch-mat-mul.ts';
import { floatsOf, type WasmCall, wasmKernel } from './wasm-kernel.ts';

interface Attributes {
  strides: [number, number] | number;
  pad: 'valid' | 'same' | number | backend_util.ExplicitPadding;
  dataFormat: 'NHWC' | 'NCHW';
  dimRoundingMode?: 'floor' | 'round' | 'ceil';
  filterShape: [number, number, number, number];
}
type Inputs = { x: TensorInfo; dy: TensorInfo };

/**
 * Elements of the patch matrix of one product: 1 MB. It stays in the cache, bounds the heap, which never
 * shrinks, and keeps the product's f32 sums short; the sums of the products are taken in f64.
 */
const MAX_PATCH_ELEMENTS = 1 << 18;

/**
 * The gradient of a convolution by its filter: patches(x)' * dy, with the patches laid out by im2col for a
 * few images at a time (Chellapilla, Puri, Simard 2006) and multiplied by the backend.
 */
export const conv2dBackpropFilter = wasmKernel(
  Conv2DBackpropFilter,
  ({ inputs, attrs, backend }: WasmCall<Inputs, Attributes>) => {
    if (attrs.dataFormat !== 'NHWC') throw new Error('Conv2DBackpropFilter: only NHWC is supported on wasm');
    const { x, dy } = inputs;
    const { strides, pad, dimRoundingMode, filterShape } = attrs;
    const shape = x.shape as [number, number, number, number];
    const conv = backend_util.computeConv2DInfo(shape, filterShape, strides, 1, pad, dimRoundingMode);
    const positions = conv.outHeight * conv.outWidth;
    const patch = conv.filterHeight * conv.filterWidth * conv.inChannels;
    const step = Math.max(1, Math.floor(MAX_PATCH_ELEMENTS / (positions * patch)));
    const gradient = backend.makeOutput(filterShape, 'float32');
    const sums = new Float64Array(patch * conv.outChannels);
    for (let image = 0; image < conv.batchSize; image += step) {
      const images = Math.min(step, conv.batchSize - image);
      addPartial(backend, sums, conv, { x, dy, image, images });
    }
    floatsOf(backend, gradient).set(sums);
    return gradient;
  },
);

type Slice = Inputs & { image: number; images: number };

function addPartial(
  backend: BackendWasm,
  sums: Float64Array,
  conv: backend_util.Conv2DInfo,
  slice: Slice,
): void {
  const rows = slice.images * conv.outHeight * conv.outWidth;
  const patch = conv.filterHeight * conv.filterWidth * conv.inChannels;
  const patches = backend.makeOutput([rows, patch], 'float32');
  const errors = backend.makeOutput([rows, conv.outChannels], 'float32');
  const from = slice.image * conv.outHeight * conv.outWidth * conv.outChannels;
  const dy = floatsOf(backend, slice.dy);
  floatsOf(backend, errors).set(dy.subarray(from, from + rows * conv.outChannels));
  layOutPatches(floatsOf(backend, slice.x), floatsOf(backend, patches), conv, slice);
  const partial = multiply(backend, { a: patches, b: errors }, { transposeA: true, transposeB: false });
  const terms = floatsOf(backend, partial);
  for (let i = 0; i < sums.length; i++) sums[i] = sums[i]! + terms[i]!;
  for (const tensor of [patches, errors, partial]) backend.disposeData(tensor.dataId);
}

/**
 * im2col: row (image, out row, out column), column (filter row, filter column, channel); zero outside the
 * image.
 */
function layOutPatches(
  x: Float32Array,
  patches: Float32Array,
  conv: backend_util.Conv2DInfo,
  { image, images }: Pick<Slice, 'image' | 'images'>,
): void {
  const { inHeight, inWidth, inChannels, filterHeight, filterWidth, strideHeight, strideWidth } = conv;
  const width = filterWidth * inChannels;
  let to = 0;
  for (let n = image; n < image + images; n++) {
    for (let oy = 0; oy < conv.outHeight; oy++) {
      for (let ox = 0; ox < conv.outWidth; ox++) {
        const left = ox * strideWidth - conv.padInfo.left;
        const first = Math.max(0, left);
        const end = Math.min(inWidth, left + filterWidth);
        for (let fy = 0; fy < filterHeight; fy++, to += width) {
          const y = oy * strideHeight - conv.padInfo.top + fy;
          if (y < 0 || y >= inHeight || end <= first) {
            patches.fill(0, to, to + width);
            continue;
          }
          const source = ((n * inHeight + y) * inWidth + first) * inChannels;
          const skipped = (first - left) * inChannels;
          const copied = (end - first) * inChannels;
          if (skipped > 0) patches.fill(0, to, to + skipped);
          for (let i = 0; i < copied; i++) patches[to + skipped + i] = x[source + i]!;
          if (skipped + copied < width) patches.fill(0, to + skipped + copied, to + width);
        }
      }
    }
  }
}
