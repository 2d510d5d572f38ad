import { elementCount, type TensorEntry } from './tensors.ts';

/**
 * `trainable` values are learned, `statistic` ones (BatchNorm moments) are averaged only, `local` ones never travel.
 */
export type TensorRole = 'trainable' | 'statistic' | 'local';

export interface TensorSpec {
  name: string;
  shape: number[];
  dtype: 'F32';
  role: TensorRole;
  /** The dimension of output channels: 0 in PyTorch's layouts, the last in Keras's. */
  channelAxis?: number | undefined;
  /** Names a group per dimension; tensors that share a group are sliced together. Without axes: no width slices. */
  axes?: string[] | undefined;
}

export interface Architecture {
  format: 'tfjs-layers';
  topology: unknown;
}

/** A model's tensors in the order of its weight files, and optionally how to build it. */
export interface Manifest {
  tensors: TensorSpec[];
  architecture?: Architecture | undefined;
}

/** The tensors that travel, each with its first element's place in the flattened model. */
export interface PlacedTensor extends TensorSpec {
  offset: number;
  length: number;
}

/** Flattens a manifest: travelling tensors in order, with offsets in elements. */
export function placeTensors(manifest: Manifest): { tensors: PlacedTensor[]; parameters: number } {
  let offset = 0;
  const tensors = manifest.tensors
    .filter(({ role }) => role !== 'local')
    .map((spec) => {
      const placed = { ...spec, offset, length: elementCount(spec.shape) };
      offset += placed.length;
      return placed;
    });
  return { tensors, parameters: offset };
}

const MAX_PARAMETERS = 400_000_000;

/** What a schema cannot say of a manifest: unique names, sane sizes, axes that fit. Undefined: nothing is wrong. */
export function manifestFault(manifest: Manifest): string | undefined {
  const names = new Set<string>();
  for (const { name, shape, channelAxis, axes } of manifest.tensors) {
    if (names.has(name)) return `tensor ${name} is declared twice`;
    if (name === '__metadata__') return '__metadata__ is not a tensor name';
    if (!shape.every((size) => size >= 1)) return `tensor ${name} has an empty dimension`;
    if (channelAxis !== undefined && channelAxis >= shape.length)
      return `tensor ${name} has no axis ${channelAxis}`;
    if (axes && axes.length !== shape.length)
      return `tensor ${name} names ${axes.length} axes of ${shape.length}`;
    names.add(name);
  }
  const { parameters } = placeTensors(manifest);
  if (parameters === 0) return 'no tensor travels';
  if (parameters > MAX_PARAMETERS) return `the model has more than ${MAX_PARAMETERS} parameters`;
  return undefined;
}

/** Holds a weight file's tensors against the manifest: the same names, shapes and dtype F32, in any order. */
export function weightsFault(manifest: Manifest, entries: readonly TensorEntry[]): string | undefined {
  const { tensors } = placeTensors(manifest);
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  for (const { name, shape } of tensors) {
    const entry = byName.get(name);
    if (!entry) return `tensor ${name} is missing`;
    if (entry.dtype !== 'F32') return `tensor ${name} has dtype ${entry.dtype}, not F32`;
    if (entry.shape.join() !== shape.join())
      return `tensor ${name} has shape [${entry.shape}], not [${shape}]`;
  }
  const extra = entries.find(({ name }) => !tensors.some((tensor) => tensor.name === name));
  return extra && `tensor ${extra.name} is not in the manifest`;
}
