import { LayersModel, type LayerVariable, type layers } from '@tensorflow/tfjs-layers';
import type { TensorRole } from '../domain/manifest.ts';

type Layer = layers.Layer;

/** A weight of a built model. `shape` has no unknown dimension. */
export interface Weight {
  readonly variable: LayerVariable;
  readonly shape: readonly number[];
  readonly role: TensorRole;
  readonly channelAxis: number | undefined;
}

/**
 * The weights of a model, in the order of its layers, each named by its layer and its own name:
 * `dense_1/kernel`, inside a nested model `encoder/dense_1/kernel`. The names depend on the topology alone:
 * the layers package makes its own unique per process (`kernel_1`), so those are not used.
 */
export function weightsOf(model: LayersModel): Map<string, Weight> {
  const weights = new Map<string, Weight>();
  for (const layer of model.layers) addLayer(weights, layer, layer.name);
  return weights;
}

function addLayer(weights: Map<string, Weight>, layer: Layer, path: string): void {
  if (layer instanceof LayersModel) {
    for (const inner of layer.layers) addLayer(weights, inner, `${path}/${inner.name}`);
    return;
  }
  const statistics = new Set(layer.nonTrainableWeights);
  for (const variable of layer.weights) {
    const shape = variable.shape.map((size) => size ?? 0);
    const role = statistics.has(variable) ? 'statistic' : 'trainable';
    const name = freeName(weights, `${path}/${ownName(layer, variable)}`);
    weights.set(name, { variable, shape, role, channelAxis: channelAxis(variable, shape) });
  }
}

/** What follows the layer in the variable's scope, as `forward_lstm/kernel` for a bidirectional one. */
function ownName(layer: Layer, { originalName }: LayerVariable): string {
  const scope = `${layer.name}/`;
  const at = originalName.lastIndexOf(scope);
  return at < 0 ? originalName : originalName.slice(at + scope.length);
}

/** Stacked cells repeat a name: the second one gets `kernel:1`, by position. */
function freeName(weights: ReadonlyMap<string, Weight>, name: string): string {
  if (!weights.has(name)) return name;
  let index = 1;
  while (weights.has(`${name}:${index}`)) index++;
  return `${name}:${index}`;
}

/**
 * Keras keeps output channels last; a depthwise kernel's are its input channels (each times the multiplier).
 */
function channelAxis({ originalName }: LayerVariable, shape: readonly number[]): number | undefined {
  if (shape.length === 0) return undefined;
  return originalName.endsWith('depthwise_kernel') ? shape.length - 2 : shape.length - 1;
}
