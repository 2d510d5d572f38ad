import * as tf from '@tensorflow/tfjs-core';
import type { Hyperparameters, OptimizerName } from '../../domain/ml.ts';

const optimizers: Record<OptimizerName, (learningRate: number, momentum: number) => tf.Optimizer> = {
  sgd: (learningRate, momentum) =>
    momentum > 0 ? tf.train.momentum(learningRate, momentum) : tf.train.sgd(learningRate),
  momentum: (learningRate, momentum) => tf.train.momentum(learningRate, momentum || 0.9),
  adam: (learningRate) => tf.train.adam(learningRate),
  rmsprop: (learningRate, momentum) => tf.train.rmsprop(learningRate, 0.9, momentum),
  adagrad: (learningRate) => tf.train.adagrad(learningRate),
};

/** Throws when the package has no such optimiser. */
export function requireOptimizer(name: OptimizerName = 'sgd'): void {
  if (Object.hasOwn(optimizers, name)) return;
  throw new Error(`unknown optimizer ${name}: one of ${Object.keys(optimizers).join(', ')}`);
}

/** An optimiser with fresh state, until `disposeOptimizer`. */
export function createOptimizer({
  optimizer = 'sgd',
  learningRate,
  momentum = 0,
}: Hyperparameters): tf.Optimizer {
  requireOptimizer(optimizer);
  return optimizers[optimizer](learningRate, momentum);
}

/** The package's momentum optimiser forgets a tensor that its base class holds. */
export function disposeOptimizer(optimizer: tf.Optimizer): void {
  optimizer.dispose();
  const { c: rate } = optimizer as { c?: tf.Tensor };
  if (rate && !rate.isDisposed) rate.dispose();
}
