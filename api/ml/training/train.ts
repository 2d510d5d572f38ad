import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import { LayersModel } from '@tensorflow/tfjs-layers';
import type { Examples, Hyperparameters, TrainResult } from '../../domain/ml.ts';
import { createRandom } from '../../domain/random.ts';
import { getWeights, type Model } from '../model.ts';
import { type Batch, countExamples, cutBatch } from './batches.ts';
import { checkHyperparameters } from './hyperparameters.ts';
import { type Objective, objectiveOf } from './losses.ts';
import { createOptimizer, disposeOptimizer } from './optimizers.ts';
import { type Random, shuffledIndices } from './shuffles.ts';

export interface TrainOptions {
  /** Decides the drawn examples, their order and the dropout masks. */
  seed: number;
  onProgress?: ((progress: { step: number; steps: number; loss: number }) => void) | undefined;
  /**
   * Aborted between steps: the promise rejects with the signal's reason and the model keeps what it has
   * learned.
   */
  signal?: AbortSignal | undefined;
}

/**
 * Trains the model in place by mini-batches, the same way for the same seed. The event loop runs between
 * steps.
 *
 * @throws when the examples do not fit the model, or when a weight is no longer finite.
 */
export async function trainModel(
  model: Model,
  data: Examples,
  hyperparameters: Hyperparameters,
  { seed, onProgress, signal }: TrainOptions,
): Promise<TrainResult> {
  const { epochs, batchSize, maxExamples } = checkHyperparameters(hyperparameters);
  const objective = objectiveOf(hyperparameters.loss);
  const random = createRandom(seed);
  const available = countExamples(model, data, objective);
  const drawn = shuffledIndices(available, random).subarray(0, Math.min(available, maxExamples ?? available));
  if (drawn.length === 0) throw new Error('there are no examples to train on');
  const steps = epochs * Math.ceil(drawn.length / batchSize);
  const optimizer = createOptimizer(hyperparameters);
  let step = 0;
  let last = { loss: 0, accuracy: 0 };
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      const order = shuffledIndices(drawn.length, random).map((index) => drawn[index]!);
      last = { loss: 0, accuracy: 0 };
      for (let from = 0; from < order.length; from += batchSize) {
        signal?.throwIfAborted();
        const rows = order.subarray(from, from + batchSize);
        const seen = await trainStep(model, { data, rows, objective, optimizer, random });
        step++;
        last.loss += (seen.loss * rows.length) / order.length;
        last.accuracy += (seen.accuracy * rows.length) / order.length;
        onProgress?.({ step, steps, loss: seen.loss });
        await setImmediate();
      }
    }
  } finally {
    disposeOptimizer(optimizer);
  }
  await requireFinite(model);
  return { examples: drawn.length, steps, ...last };
}

interface Step {
  data: Examples;
  rows: Uint32Array;
  objective: Objective;
  optimizer: tf.Optimizer;
  random: Random;
}

async function trainStep(model: Model, step: Step): Promise<{ loss: number; accuracy: number }> {
  model.backend.activate();
  seedDropout(model.layers, step.random);
  const batch = cutBatch(model, step.data, step.rows, step.objective);
  const seen = minimize(model, batch, step);
  const [loss, accuracy] = await Promise.all([seen.loss.data(), seen.accuracy.data()]);
  tf.dispose([batch.x, batch.target, seen.loss, seen.accuracy]);
  return { loss: loss[0]!, accuracy: accuracy[0]! };
}

function minimize(
  model: Model,
  batch: Batch,
  { objective, optimizer }: Step,
): { loss: tf.Scalar; accuracy: tf.Scalar } {
  const { layers } = model;
  const variables = layers.trainableWeights.map((weight) => weight.read() as tf.Variable);
  return tf.tidy(() => {
    let accuracy: tf.Scalar | undefined;
    const forward = (): tf.Scalar => {
      const output = layers.apply(batch.x, { training: true }) as tf.Tensor;
      accuracy = tf.keep(objective.accuracy(batch.target, output));
      const penalties = layers.calculateLosses();
      return penalties.reduce((sum, penalty) => tf.add(sum, penalty), objective.loss(batch.target, output));
    };
    const loss = optimizer.minimize(forward, true, variables);
    return { loss: loss!, accuracy: accuracy! };
  });
}

/** The losses clip their logarithms, so a model that diverged can show a finite one. */
async function requireFinite(model: Model): Promise<void> {
  for (const [name, { values }] of await getWeights(model)) {
    if (!values.every(Number.isFinite)) throw new Error(`training diverged: ${name} is not finite`);
  }
}

/**
 * A dropout layer draws its mask from Math.random unless it has a seed; a constant one would repeat the mask.
 */
function seedDropout(model: LayersModel, random: Random): void {
  for (const layer of model.layers) {
    if (layer instanceof LayersModel) seedDropout(layer, random);
    else if (layer.getClassName() === 'Dropout' || layer.getClassName() === 'SpatialDropout1D') {
      (layer as { seed?: number }).seed = Math.floor(random() * 2 ** 31);
    }
  }
}
