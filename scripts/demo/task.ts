import type { Architecture } from '../../api/domain/manifest.ts';
import type { Examples, Hyperparameters } from '../../api/domain/ml.ts';
import { loadTrainImages, loadTrainLabels, MNIST_PIXELS, type MnistSplit } from '../mnist.ts';
import { partitionDirichlet } from '../partition.ts';

/** What the demo trains, on what, and how: shared by the devices, the central comparison and the server's score. */

export const SEED = 7;
/** Label skew of the shards: each digit is spread over the devices by a draw of Dirichlet(0.5). */
const DIRICHLET_ALPHA = 0.5;
/** Examples that a device trains on in a round. */
export const EXAMPLES_A_ROUND = 4800;

/** A server on the same machine that was killed is back within seconds. */
export const BACKOFF = { baseMs: 250, capMs: 2_000 };

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

/** The training examples of one of so many devices: always the same, and no example is given to two. */
export function loadShard(device: number, devices: number): Examples {
  const labels = loadTrainLabels();
  const rows = partitionDirichlet({ labels, devices, alpha: DIRICHLET_ALPHA, seed: SEED })[device]!;
  return toExamples({ images: loadTrainImages(rows), labels: Uint8Array.from(rows, (row) => labels[row]!) });
}

export function toExamples({ images, labels }: MnistSplit): Examples {
  return { x: { shape: [labels.length, MNIST_PIXELS], dtype: 'U8', values: images }, y: labels };
}
