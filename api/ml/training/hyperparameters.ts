import type { Hyperparameters } from '../../domain/ml.ts';
import { objectiveOf } from './losses.ts';
import { requireOptimizer } from './optimizers.ts';

const MAX_COUNT = 1_000_000;

/**
 * Reads the hyperparameters of an assignment, which are plain values by name. Unknown names are passed over:
 * they may be for another kind of trainer.
 *
 * @throws when one is not what it should be; the message names it.
 */
export function hyperparametersOf(plain: Readonly<Record<string, unknown>>): Hyperparameters {
  return checkHyperparameters({
    epochs: (plain.epochs ?? 1) as number,
    batchSize: (plain.batchSize ?? 32) as number,
    learningRate: (plain.learningRate ?? 0.1) as number,
    loss: plain.loss as Hyperparameters['loss'],
    optimizer: plain.optimizer as Hyperparameters['optimizer'],
    momentum: plain.momentum as number | undefined,
    maxExamples: plain.maxExamples as number | undefined,
  });
}

/** Gives its argument back, or throws when a value is out of its range. */
export function checkHyperparameters(hyperparameters: Hyperparameters): Hyperparameters {
  const { epochs, batchSize, learningRate, momentum = 0, maxExamples = 1 } = hyperparameters;
  for (const [name, value] of Object.entries({ epochs, batchSize, maxExamples })) {
    if (!Number.isInteger(value) || value < 1 || value > MAX_COUNT) {
      throw new Error(`${name} must be an integer from 1 to ${MAX_COUNT}, not ${value}`);
    }
  }
  if (!(learningRate > 0 && learningRate < Number.POSITIVE_INFINITY)) {
    throw new Error(`learningRate must be a positive number, not ${learningRate}`);
  }
  if (!(momentum >= 0 && momentum < 1)) throw new Error(`momentum must be in [0, 1), not ${momentum}`);
  objectiveOf(hyperparameters.loss);
  requireOptimizer(hyperparameters.optimizer);
  return hyperparameters;
}
