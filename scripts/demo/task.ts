import type { Architecture } from '../../api/domain/manifest.ts';
import type { Examples, Hyperparameters } from '../../api/domain/ml.ts';
import { loadMnist, MNIST_PIXELS, type MnistSplit } from '../mnist.ts';
import { partitionDirichlet } from '../partition.ts';

/** What the demo trains, on what, and how: shared by the devices, the central comparison and the server's score. */

export const SEED = 7;
/** Label skew of the shards: each digit is spread over the devices by a draw of Dirichlet(0.5). */
const DIRICHLET_ALPHA = 0.5;
/** Examples that a device trains on in a round. */
export const EXAMPLES_A_ROUND = 4800;

export const hyperparameters = {
  epochs: 1,
  batchSize: 64,
  learningRate: 0.1,
  momentum: 0.9,
  loss: 'sparseCategoricalCrossentropy',
  optimizer: 'momentum',
  maxExamples: EXAMPLES_A_ROUND,
} as const satisfies Hyperparameters;

/** A multilayer perceptron of 101,770 parameters. */
export const architecture: Architecture = {
  format: 'tfjs-layers',
  topology: {
    class_name: 'Sequential',
    config: {
      name: 'digits',
      layers: [
        dense({ name: 'hidden', units: 128, activation: 'relu', batch_input_shape: [null, MNIST_PIXELS] }),
        dense({ name: 'digit', units: 10, activation: 'softmax' }),
      ],
    },
  },
};

function dense(config: Record<string, unknown>) {
  return { class_name: 'Dense', config: { trainable: true, ...config } };
}

/** The shards of the training images, the same for the same number of devices. */
export function loadShards(devices: number): { train: MnistSplit; shards: Uint32Array[] } {
  const { train } = loadMnist();
  const shards = partitionDirichlet({ labels: train.labels, devices, alpha: DIRICHLET_ALPHA, seed: SEED });
  return { train, shards };
}

/** The images of a split as examples; with `rows`, these alone. */
export function toExamples(split: MnistSplit, rows?: Uint32Array): Examples {
  if (!rows) return { x: images(split.images, split.labels.length), y: split.labels };
  const values = new Uint8Array(rows.length * MNIST_PIXELS);
  rows.forEach((row, i) => {
    values.set(split.images.subarray(row * MNIST_PIXELS, (row + 1) * MNIST_PIXELS), i * MNIST_PIXELS);
  });
  return { x: images(values, rows.length), y: Uint8Array.from(rows, (row) => split.labels[row]!) };
}

function images(values: Uint8Array, count: number): Examples['x'] {
  return { shape: [count, MNIST_PIXELS], dtype: 'U8', values };
}
