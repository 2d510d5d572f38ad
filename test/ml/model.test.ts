import * as tf from '@tensorflow/tfjs-core';
import { layers, sequential } from '@tensorflow/tfjs-layers';
import { describe, expect, test } from 'vitest';
import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel, disposeModel, getWeights, manifestOf, setWeights } from '../../api/ml/model.ts';
import { cnn, lstm, mlp, nested } from './architectures.ts';

const backend = await loadBackend('wasm');

async function namesOf(architecture: typeof mlp): Promise<string[]> {
  const model = await buildModel(backend, architecture);
  const names = manifestOf(model).tensors.map(({ name }) => name);
  disposeModel(model);
  return names;
}

describe('names', () => {
  test('are layer and weight, the same however often a model is built', async () => {
    const first = await buildModel(backend, mlp);
    const second = await buildModel(backend, mlp);
    const names = ['hidden/kernel', 'hidden/bias', 'output/kernel', 'output/bias'];
    expect([...first.weights.keys()]).toEqual(names);
    expect([...second.weights.keys()]).toEqual(names);
    disposeModel(first);
    disposeModel(second);
    expect(await namesOf(lstm)).toEqual(await namesOf(lstm));
  });

  test('of wrapped and nested layers lead to them', async () => {
    const names = await namesOf(nested);
    expect(names).toEqual([
      'embedding/embeddings',
      'both/forward_gru/kernel',
      'both/forward_gru/recurrent_kernel',
      'both/forward_gru/bias',
      'both/backward_gru/kernel',
      'both/backward_gru/recurrent_kernel',
      'both/backward_gru/bias',
      'head/hidden/kernel',
      'head/hidden/bias',
      'head/norm/gamma',
      'head/norm/beta',
      'head/norm/moving_mean',
      'head/norm/moving_variance',
      'head/output/kernel',
      'head/output/bias',
    ]);
    expect(await namesOf(nested)).toEqual(names);
  });
});

describe('manifestOf', () => {
  test('gives shapes, roles and channel axes', async () => {
    const model = await buildModel(backend, cnn);
    const tensors = new Map(manifestOf(model).tensors.map((tensor) => [tensor.name, tensor]));
    disposeModel(model);
    const dtype = 'F32';
    expect(tensors.get('conv/kernel')).toEqual({
      name: 'conv/kernel',
      shape: [3, 3, 2, 6],
      dtype,
      role: 'trainable',
      channelAxis: 3,
    });
    expect(tensors.get('depthwise/depthwise_kernel')).toMatchObject({ shape: [3, 3, 6, 1], channelAxis: 2 });
    expect(tensors.get('norm/gamma')).toMatchObject({ role: 'trainable', channelAxis: 0 });
    expect(tensors.get('norm/moving_mean')).toMatchObject({ role: 'statistic', shape: [6] });
    expect(tensors.get('norm/moving_variance')).toMatchObject({ role: 'statistic' });
  });
});

describe('weights', () => {
  test('are drawn by the seed, and zero without one', async () => {
    const values = async (seed?: number) => {
      const model = await buildModel(backend, lstm, { seed });
      const weights = await getWeights(model);
      disposeModel(model);
      return weights;
    };
    expect(await values(1)).toEqual(await values(1));
    expect(await values(1)).not.toEqual(await values(2));
    const kernel = (await values(1)).get('lstm/kernel')!.values;
    expect(new Set(kernel).size).toBeGreaterThan(kernel.length / 2);
    expect((await values()).get('lstm/kernel')!.values.every((value) => value === 0)).toBe(true);
  });

  test('come back as they were set', async () => {
    const model = await buildModel(backend, nested, { seed: 3 });
    const copy = await buildModel(backend, nested);
    setWeights(copy, await getWeights(model));
    expect(await getWeights(copy)).toEqual(await getWeights(model));
    disposeModel(model);
    disposeModel(copy);
  });

  test('that do not fit are refused and change nothing', async () => {
    const model = await buildModel(backend, mlp, { seed: 3 });
    const before = await getWeights(model);
    const changed = (change: (weights: typeof before) => void) => {
      const weights = new Map([...before].map(([name, { shape }]) => [name, filled(shape)]));
      change(weights);
      return () => setWeights(model, weights);
    };
    expect(changed((weights) => weights.delete('output/bias'))).toThrow('output/bias is missing');
    expect(changed((weights) => weights.set('output/bias', filled([4])))).toThrow('shape [4], not [3]');
    expect(changed((weights) => weights.set('other', filled([4])))).toThrow('other is not of this model');
    expect(await getWeights(model)).toEqual(before);
    disposeModel(model);
  });
});

test('the layers package own JSON builds the same model', async () => {
  const source = sequential({
    layers: [
      layers.conv2d({ filters: 3, kernelSize: 3, inputShape: [6, 6, 1], activation: 'relu' }),
      layers.flatten(),
      layers.dense({ units: 2, activation: 'softmax' }),
    ],
  });
  const model = await buildModel(backend, { format: 'tfjs-layers', topology: source.toJSON(null, false) });
  const shapes = manifestOf(model).tensors.map(({ shape }) => shape);
  expect(shapes).toEqual([[3, 3, 1, 3], [3], [48, 2], [2]]);
  disposeModel(model);
});

test('a topology without an input shape is refused', async () => {
  const topology = {
    class_name: 'Sequential',
    config: { name: 'm', layers: [{ class_name: 'Dense', config: { name: 'd', units: 3 } }] },
  };
  await expect(buildModel(backend, { format: 'tfjs-layers', topology })).rejects.toThrow('inputShape');
});

test('a disposed model leaves no tensor behind', async () => {
  const before = tf.memory().numTensors;
  disposeModel(await buildModel(backend, nested, { seed: 1 }));
  disposeModel(await buildModel(backend, cnn));
  expect(tf.memory().numTensors).toBe(before);
});

function filled(shape: readonly number[]) {
  return { shape, values: new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(9) };
}
