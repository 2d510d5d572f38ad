import { existsSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import type { Architecture } from '../../api/domain/manifest.ts';
import type { Examples, Hyperparameters, MlBackendName } from '../../api/domain/ml.ts';
import { loadBackend } from '../../api/ml/backend.ts';
import { addonFile, nativeFolder } from '../../api/ml/backend-native.ts';
import { buildModel, disposeModel, getWeights } from '../../api/ml/model.ts';
import { scoreModel } from '../../api/ml/scoring/score.ts';
import { trainModel } from '../../api/ml/training/train.ts';
import { cnn, dropout, lstm, mlp } from './architectures.ts';
import { makeExamples } from './examples.ts';

/**
 * The largest difference of a weight after the steps below, backend against backend, over its tensor's largest value
 * (1 at least). Measured: 6e-8 (MLP, CNN), 2.4e-7 (LSTM).
 */
const TOLERANCE = 2e-6;

const hasNative = existsSync(addonFile(nativeFolder()));
if (!hasNative) console.log('native backend: skipped, not built here (npm run native)');

const plan: Hyperparameters = { epochs: 2, batchSize: 16, learningRate: 0.1 };
const cases: [string, Architecture, Examples][] = [
  ['an MLP', mlp, makeExamples([12], 88)],
  ['a CNN with depthwise, strided, pooling and normalising layers', cnn, makeExamples([10, 10, 2], 40)],
  ['an embedding and an LSTM', lstm, makeExamples([7], 88, 'I32')],
];

async function trained(
  name: MlBackendName,
  architecture: Architecture,
  data: Examples,
  options = plan,
  seed = 11,
) {
  const model = await buildModel(await loadBackend(name), architecture, { seed: 4 });
  const result = await trainModel(model, data, options, { seed });
  const weights = await getWeights(model);
  disposeModel(model);
  return { result, weights };
}

type Trained = Awaited<ReturnType<typeof trained>>;

function difference(one: Trained, other: Trained): number {
  let worst = 0;
  for (const [name, { values }] of one.weights) {
    const others = other.weights.get(name)!.values;
    const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    values.forEach((value, i) => {
      worst = Math.max(worst, Math.abs(value - others[i]!) / largest);
    });
  }
  return worst;
}

describe.each(cases)('%s', (_, architecture, data) => {
  test('trains on wasm as on cpu', async () => {
    const wasm = await trained('wasm', architecture, data);
    const cpu = await trained('cpu', architecture, data);
    const examples = data.y.length;
    expect(wasm.result).toMatchObject({ examples, steps: 2 * Math.ceil(examples / plan.batchSize) });
    expect(difference(wasm, cpu)).toBeLessThan(TOLERANCE);
    expect(wasm.result.loss).toBeCloseTo(cpu.result.loss, 4);
  });

  test('trains on native as on wasm', async ({ skip }) => {
    skip(!hasNative, 'the addon of tfjs-node is not built here: npm run native');
    const wasm = await trained('wasm', architecture, data);
    const native = await trained('native', architecture, data);
    expect(difference(wasm, native)).toBeLessThan(TOLERANCE);
    expect(native.result.loss).toBeCloseTo(wasm.result.loss, 4);
  });

  test('learns', async () => {
    const { result } = await trained('wasm', architecture, data, {
      ...plan,
      optimizer: 'adam',
      learningRate: 0.02,
      epochs: 20,
    });
    expect(result.accuracy).toBeGreaterThan(0.8);
  });

  test('keeps no tensor over its epochs', async () => {
    const model = await buildModel(await loadBackend('wasm'), architecture, { seed: 4 });
    const counts = new Set<number>();
    const before = tf.memory().numTensors;
    for (const optimizer of ['sgd', 'momentum', 'adam', 'rmsprop', 'adagrad'] as const) {
      await trainModel(
        model,
        data,
        { ...plan, optimizer, learningRate: 1e-3 },
        {
          seed: 1,
          onProgress: () => counts.add(tf.memory().numTensors),
        },
      );
      await scoreModel(model, data);
      expect(tf.memory().numTensors).toBe(before);
    }
    // Between steps there is one count for each optimiser's state.
    expect(counts.size).toBeLessThanOrEqual(5);
    disposeModel(model);
  });
});

describe('the seed', () => {
  const data = makeExamples([12], 60);
  test('decides order, drawn examples and dropout masks', async () => {
    const options = { ...plan, maxExamples: 32 };
    const weights = async (seed: number) => (await trained('wasm', dropout, data, options, seed)).weights;
    expect(await weights(1)).toEqual(await weights(1));
    expect(await weights(1)).not.toEqual(await weights(2));
  });

  test('gives dropout another mask at every step', async () => {
    const options = { epochs: 1, batchSize: 60, learningRate: 1e-9 };
    const losses = [];
    for (const seed of [1, 2]) losses.push((await trained('wasm', dropout, data, options, seed)).result.loss);
    expect(losses[0]).not.toBeCloseTo(losses[1]!, 6);
    const model = await buildModel(await loadBackend('wasm'), dropout, { seed: 4 });
    const seen: number[] = [];
    const onProgress = ({ loss }: { loss: number }) => seen.push(loss);
    await trainModel(model, data, { ...options, epochs: 3 }, { seed: 1, onProgress });
    disposeModel(model);
    expect(new Set(seen.map((loss) => loss.toFixed(6))).size).toBe(3);
  });
});

describe('trainModel', () => {
  const data = makeExamples([12], 40);

  test('draws at most maxExamples, and cuts a short last batch', async () => {
    const { result } = await trained('wasm', mlp, data, { ...plan, epochs: 3, maxExamples: 20 });
    expect(result).toMatchObject({ examples: 20, steps: 6 });
  });

  test('stops between steps when it is aborted', async () => {
    const model = await buildModel(await loadBackend('wasm'), mlp, { seed: 1 });
    const before = tf.memory().numTensors;
    const controller = new AbortController();
    let steps = 0;
    const onProgress = () => {
      steps++;
      if (steps === 2) controller.abort(new Error('enough'));
    };
    const training = trainModel(model, data, plan, { seed: 1, onProgress, signal: controller.signal });
    await expect(training).rejects.toThrow('enough');
    expect(steps).toBe(2);
    expect(tf.memory().numTensors).toBe(before);
    disposeModel(model);
  });

  test('says what does not fit', async () => {
    const model = await buildModel(await loadBackend('wasm'), mlp, { seed: 1 });
    const train = (examples: Examples, change: object = {}) =>
      trainModel(model, examples, { ...plan, ...change }, { seed: 1 });
    await expect(train(makeExamples([11], 8))).rejects.toThrow('[11], the model takes [12]');
    await expect(train({ ...data, y: data.y.subarray(1) })).rejects.toThrow('39 targets for 40 examples');
    await expect(train(makeExamples([12], 0))).rejects.toThrow('no examples');
    await expect(train(data, { batchSize: 0 })).rejects.toThrow('batchSize');
    await expect(train(data, { learningRate: -1 })).rejects.toThrow('learningRate');
    await expect(train(data, { loss: 'evil' })).rejects.toThrow('unknown loss evil');
    await expect(train(data, { optimizer: 'evil' })).rejects.toThrow('unknown optimizer evil');
    await expect(train(data, { optimizer: 'momentum', learningRate: 1e30, epochs: 9 })).rejects.toThrow(
      'diverged',
    );
    disposeModel(model);
  });

  test('learns a regression', async () => {
    const topology = {
      class_name: 'Sequential',
      config: {
        name: 'm',
        layers: [{ class_name: 'Dense', config: { name: 'd', units: 1, batch_input_shape: [null, 2] } }],
      },
    };
    const x = Float32Array.from({ length: 80 }, (_, i) => Math.sin(i * 1.7));
    const y = Float32Array.from({ length: 40 }, (_, i) => 2 * x[2 * i]! - x[2 * i + 1]! + 0.5);
    const examples: Examples = { x: { shape: [40, 2], dtype: 'F32', values: x }, y };
    const options = { epochs: 60, batchSize: 8, learningRate: 0.1, loss: 'meanSquaredError' } as const;
    const { weights, result } = await trained('wasm', { format: 'tfjs-layers', topology }, examples, options);
    expect(result.loss).toBeLessThan(1e-3);
    expect(weights.get('d/kernel')!.values[0]).toBeCloseTo(2, 1);
    expect(weights.get('d/bias')!.values[0]).toBeCloseTo(0.5, 1);
  });
});

test('scores in batches as in one', async () => {
  const data = makeExamples([12], 50, 'U8');
  const model = await buildModel(await loadBackend('wasm'), mlp, { seed: 1 });
  const whole = await scoreModel(model, data, { batchSize: 50 });
  const batched = await scoreModel(model, data, { batchSize: 7 });
  const floats = Float32Array.from(data.x.values, (value) => value / 255);
  const asFloats = await scoreModel(model, { ...data, x: { ...data.x, dtype: 'F32', values: floats } });
  disposeModel(model);
  expect(whole.examples).toBe(50);
  expect(batched.accuracy).toBeCloseTo(whole.accuracy, 6);
  expect(batched.loss).toBeCloseTo(whole.loss, 5);
  expect(asFloats).toEqual(whole);
});
