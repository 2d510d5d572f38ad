import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, loadLayersModel } from '@tensorflow/tfjs-layers';
import type { Architecture, TensorSpec } from '../domain/manifest.ts';
import type { MlBackend, NamedTensor, NamedTensors } from '../domain/ml.ts';
import { preparedTopology } from './topology.ts';
import { type Weight, weightsOf } from './weights.ts';

/** A built model: its layers, the backend that computes it, and its weights by stable name. */
export interface Model {
  readonly backend: MlBackend;
  readonly layers: LayersModel;
  readonly weights: ReadonlyMap<string, Weight>;
}

/**
 * Builds a model. With a seed its weights are drawn by that seed, the same on every machine; without one
 * nothing is drawn, and what would be is zero until `setWeights`.
 *
 * The architecture must have passed `checkArchitecture`. The model holds memory until `disposeModel`.
 *
 * @throws when the layers package cannot build it, as when the topology does not give the shape of its input.
 */
export async function buildModel(
  backend: MlBackend,
  architecture: Architecture,
  { seed }: { seed?: number | undefined } = {},
): Promise<Model> {
  backend.activate();
  const modelTopology = preparedTopology(architecture.topology, seed);
  const layers = await loadLayersModel({ load: async () => ({ modelTopology }) });
  if (!layers.inputs?.length)
    throw new Error('the topology gives no input shape, so the model has no weights');
  return { backend, layers, weights: weightsOf(layers) };
}

export function disposeModel({ layers, weights }: Model): void {
  // Wrappers of the package do not dispose all of the layers inside them.
  const values = [...weights.values()].map(({ variable }) => variable.read());
  layers.dispose();
  for (const value of values) if (!value.isDisposed) value.dispose();
}

/** What a server needs to know of the model's tensors, in the order of its layers. */
export function manifestOf(model: Model): { tensors: TensorSpec[] } {
  const tensors = [...model.weights].map(([name, { shape, role, channelAxis }]): TensorSpec => {
    return {
      name,
      shape: [...shape],
      dtype: 'F32',
      role,
      ...(channelAxis === undefined ? {} : { channelAxis }),
    };
  });
  return { tensors };
}

/**
 * Sets every weight of the model.
 *
 * @throws when a tensor is missing, unknown or of another shape; then no weight has changed.
 */
export function setWeights(model: Model, tensors: NamedTensors): void {
  for (const [name, { shape }] of model.weights) {
    const given = tensors.get(name);
    if (!given) throw new Error(`tensor ${name} is missing`);
    if (given.shape.join() !== shape.join()) {
      throw new Error(`tensor ${name} has shape [${given.shape}], not [${shape}]`);
    }
  }
  const unknown = [...tensors.keys()].find((name) => !model.weights.has(name));
  if (unknown !== undefined) throw new Error(`tensor ${unknown} is not of this model`);
  model.backend.activate();
  tf.tidy(() => {
    for (const [name, { shape, variable }] of model.weights) {
      variable.write(tf.tensor(tensors.get(name)!.values, [...shape], 'float32'));
    }
  });
}

/** A copy of every weight, in the manifest's order. */
export async function getWeights(model: Model): Promise<Map<string, NamedTensor>> {
  model.backend.activate();
  const entries = [...model.weights].map(
    async ([name, { shape, variable }]): Promise<[string, NamedTensor]> => {
      const values = new Float32Array(await variable.read().data<'float32'>());
      return [name, { shape, values }];
    },
  );
  return new Map(await Promise.all(entries));
}
