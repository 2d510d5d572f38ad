import * as tf from '@tensorflow/tfjs-core';
import type { LossName } from '../../domain/ml.ts';

/** Keeps logarithms finite, as Keras does. */
const EPSILON = 1e-7;

/**
 * A batch's mean loss and its share of right answers, from the model's output and the targets, as scalars.
 */
export interface Objective {
  /** The shape of a batch's targets, given the output's. */
  targetShape(output: readonly number[]): number[];
  targetDtype: 'int32' | 'float32';
  loss(target: tf.Tensor, output: tf.Tensor): tf.Scalar;
  accuracy(target: tf.Tensor, output: tf.Tensor): tf.Scalar;
}

const sameShape = (output: readonly number[]): number[] => [...output];
const noAccuracy = (): tf.Scalar => tf.scalar(0);

const objectives: Record<LossName, Objective> = {
  sparseCategoricalCrossentropy: {
    targetShape: (output) => output.slice(0, -1),
    targetDtype: 'int32',
    loss: (target, output) => {
      const expected = tf.oneHot(target as tf.Tensor1D, output.shape.at(-1)!);
      const likelihood = tf.sum(tf.mul(output, expected), -1);
      return tf.neg(tf.mean(tf.log(tf.clipByValue(likelihood, EPSILON, 1))));
    },
    accuracy: (target, output) => tf.mean(tf.cast(tf.equal(tf.argMax(output, -1), target), 'float32')),
  },
  binaryCrossentropy: {
    targetShape: sameShape,
    targetDtype: 'float32',
    loss: (target, output) => {
      const likely = tf.clipByValue(output, EPSILON, 1 - EPSILON);
      const hit = tf.mul(target, tf.log(likely));
      const miss = tf.mul(tf.sub(1, target), tf.log(tf.sub(1, likely)));
      return tf.neg(tf.mean(tf.add(hit, miss)));
    },
    accuracy: (target, output) =>
      tf.mean(tf.cast(tf.equal(tf.greater(output, 0.5), tf.greater(target, 0.5)), 'float32')),
  },
  meanSquaredError: {
    targetShape: sameShape,
    targetDtype: 'float32',
    loss: (target, output) => tf.mean(tf.square(tf.sub(output, target))),
    accuracy: noAccuracy,
  },
  meanAbsoluteError: {
    targetShape: sameShape,
    targetDtype: 'float32',
    loss: (target, output) => tf.mean(tf.abs(tf.sub(output, target))),
    accuracy: noAccuracy,
  },
};

/** The objective of a loss by name; the model's output is taken as probabilities by the crossentropies. */
export function objectiveOf(loss: LossName = 'sparseCategoricalCrossentropy'): Objective {
  if (!Object.hasOwn(objectives, loss)) {
    throw new Error(`unknown loss ${loss}: one of ${Object.keys(objectives).join(', ')}`);
  }
  return objectives[loss];
}
