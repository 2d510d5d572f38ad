import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../api/domain/random.ts';
import { loadBackend } from '../../api/ml/backend.ts';

/** Against the package's plain JavaScript kernels, which sum in f64. */
const TOLERANCE = 2e-6;

const wasm = await loadBackend('wasm');
const cpu = await loadBackend('cpu');

type Operands = Record<string, { shape: number[]; values?: Int32Array }>;

async function run(
  backend: typeof wasm,
  kernel: string,
  operands: Operands,
  attrs: object,
): Promise<tf.Tensor> {
  backend.activate();
  const random = createRandom(7);
  const tensors = Object.entries(operands).map(([name, { shape, values }]) => {
    const length = shape.reduce((product, size) => product * size, 1);
    const floats = Float32Array.from({ length }, () => random() * 2 - 1);
    return [name, values ? tf.tensor(values, shape, 'int32') : tf.tensor(floats, shape)] as const;
  });
  const inputs: tf.NamedTensorMap = Object.fromEntries(tensors);
  return tf.engine().runKernel<tf.Tensor>(kernel, inputs, attrs as tf.NamedAttrMap);
}

async function expectSame(kernel: string, operands: Operands, attrs: object): Promise<void> {
  const ours = await run(wasm, kernel, operands, attrs);
  const ourValues = await ours.data();
  const theirs = await run(cpu, kernel, operands, attrs);
  const values = Array.from(await theirs.data());
  expect(ours.shape).toEqual(theirs.shape);
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
  const worst = values.reduce((most, value, i) => Math.max(most, Math.abs(value - ourValues[i]!)), 0);
  expect(worst / largest).toBeLessThanOrEqual(TOLERANCE);
  expect(values.some((value) => value !== 0)).toBe(true);
}

const strides = [1, 2, 3];
const pads = ['same', 'valid', 1] as const;
const cases = strides.flatMap((stride) => pads.map((pad) => ({ stride, pad })));

describe('Conv2DBackpropFilter', () => {
  test.each(cases)('stride $stride, padding $pad', async ({ stride, pad }) => {
    for (const [height, width, filter] of [
      [9, 11, [3, 3, 4, 5]],
      [8, 7, [5, 2, 3, 2]],
      [6, 6, [1, 1, 3, 4]],
    ] as const) {
      const [fh, fw, channels, outputs] = filter;
      const info = tf.backend_util.computeConv2DInfo(
        [3, height, width, channels],
        [...filter],
        stride,
        1,
        pad,
      );
      const operands = {
        x: { shape: [3, height, width, channels] },
        dy: { shape: [3, info.outHeight, info.outWidth, outputs] },
      };
      const attrs = { strides: stride, pad, dataFormat: 'NHWC', filterShape: [fh, fw, channels, outputs] };
      await expectSame('Conv2DBackpropFilter', operands, attrs);
    }
  });

  test('more images than one patch matrix holds', async () => {
    const operands = { x: { shape: [9, 40, 40, 24] }, dy: { shape: [9, 40, 40, 2] } };
    const attrs = { strides: 1, pad: 'same', dataFormat: 'NHWC', filterShape: [3, 3, 24, 2] };
    await expectSame('Conv2DBackpropFilter', operands, attrs);
  });

  test('refuses channels first by name', async () => {
    const operands = { x: { shape: [1, 2, 4, 4] }, dy: { shape: [1, 2, 4, 4] } };
    const attrs = { strides: 1, pad: 'same', dataFormat: 'NCHW', filterShape: [3, 3, 2, 2] };
    await expect(run(wasm, 'Conv2DBackpropFilter', operands, attrs)).rejects.toThrow('NHWC');
  });
});

describe('Conv2DBackpropInput', () => {
  test.each(cases)('stride $stride, padding $pad', async ({ stride, pad }) => {
    for (const [height, width, filterShape] of [
      [9, 11, [3, 3, 4, 5]],
      [8, 7, [5, 2, 3, 2]],
      [6, 6, [1, 1, 3, 4]],
    ] as [number, number, [number, number, number, number]][]) {
      const inputShape = [3, height, width, filterShape[2]] as [number, number, number, number];
      const info = tf.backend_util.computeConv2DInfo(inputShape, filterShape, stride, 1, pad);
      const dy = { shape: [3, info.outHeight, info.outWidth, info.outChannels] };
      const attrs = { strides: stride, pad, dataFormat: 'NHWC', inputShape };
      await expectSame('Conv2DBackpropInput', { dy, filter: { shape: filterShape } }, attrs);
    }
  });
});

describe('DepthwiseConv2dNativeBackprop', () => {
  test.each(cases)('stride $stride, padding $pad', async ({ stride, pad }) => {
    for (const multiplier of [1, 3]) {
      const inputShape = [2, 9, 8, 4] as [number, number, number, number];
      const filterShape = [3, 2, 4, multiplier] as [number, number, number, number];
      const info = tf.backend_util.computeConv2DInfo(
        inputShape,
        filterShape,
        stride,
        1,
        pad,
        undefined,
        true,
      );
      const dy = { shape: [2, info.outHeight, info.outWidth, info.outChannels] };
      const attrs = { strides: stride, dilations: 1, pad };
      await expectSame(
        'DepthwiseConv2dNativeBackpropFilter',
        { x: { shape: inputShape }, dy },
        { ...attrs, filterShape },
      );
      await expectSame(
        'DepthwiseConv2dNativeBackpropInput',
        { dy, filter: { shape: filterShape } },
        { ...attrs, inputShape },
      );
    }
  });

  // The package's own gradient kernels ignore dilation, so the check is the forward pass's own linearity.
  test.each(['same', 'valid'] as const)(
    'dilation 2, padding %s: agrees with the forward pass',
    async (pad) => {
      wasm.activate();
      const random = createRandom(3);
      const randomTensor = (shape: number[]) =>
        tf.tensor(
          Float32Array.from({ length: tf.util.sizeFromShape(shape) }, () => random() - 0.5),
          shape,
        );
      const x = randomTensor([2, 9, 8, 3]);
      const filter = randomTensor([3, 3, 3, 2]);
      const y = tf.depthwiseConv2d(x as tf.Tensor4D, filter as tf.Tensor4D, 1, pad, 'NHWC', 2);
      const dy = randomTensor(y.shape);
      const attrs = { strides: 1, dilations: 2, pad };
      const engine = tf.engine();
      const dx = engine.runKernel<tf.Tensor>(
        'DepthwiseConv2dNativeBackpropInput',
        { dy, filter },
        { ...attrs, inputShape: x.shape },
      );
      const dw = engine.runKernel<tf.Tensor>(
        'DepthwiseConv2dNativeBackpropFilter',
        { x, dy },
        { ...attrs, filterShape: filter.shape },
      );
      const dot = async (a: tf.Tensor, b: tf.Tensor) => (await tf.sum(tf.mul(a, b)).data())[0]!;
      const through = await dot(y, dy);
      expect(Math.abs((await dot(x, dx)) - through)).toBeLessThan(1e-5);
      expect(Math.abs((await dot(filter, dw)) - through)).toBeLessThan(1e-5);
      expect(Math.abs(through)).toBeGreaterThan(1e-3);
    },
  );
});

describe('UnsortedSegmentSum', () => {
  test.each([[[12]], [[12, 5]], [[12, 2, 3]]])('rows of shape %j', async (shape) => {
    const segmentIds = { shape: [12], values: Int32Array.from([3, 0, 0, 4, 1, 3, 3, 0, 4, 4, 0, 1]) };
    await expectSame('UnsortedSegmentSum', { x: { shape }, segmentIds }, { numSegments: 6 });
  });

  test('ids outside the range are dropped', async () => {
    const segmentIds = { shape: [4], values: Int32Array.from([-1, 0, 2, 1]) };
    const sum = await run(
      wasm,
      'UnsortedSegmentSum',
      { x: { shape: [4, 3] }, segmentIds },
      { numSegments: 2 },
    );
    await expectSame('UnsortedSegmentSum', { x: { shape: [4, 3] }, segmentIds }, { numSegments: 2 });
    expect(sum.shape).toEqual([2, 3]);
  });
});

describe('BatchMatMul', () => {
  const flags = [false, true];
  test.each(flags.flatMap((transposeA) => flags.map((transposeB) => ({ transposeA, transposeB }))))(
    'transposeA $transposeA, transposeB $transposeB',
    async ({ transposeA, transposeB }) => {
      for (const [batch, rows, inner, columns] of [
        [1, 70, 33, 50],
        [1, 3, 2, 4],
        [4, 40, 32, 20],
      ] as const) {
        const a = { shape: transposeA ? [batch, inner, rows] : [batch, rows, inner] };
        const b = { shape: transposeB ? [batch, columns, inner] : [batch, inner, columns] };
        await expectSame('BatchMatMul', { a, b }, { transposeA, transposeB });
      }
    },
  );
});
