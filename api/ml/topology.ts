import { seedFor } from './training/shuffles.ts';

type Json = Record<string, unknown>;

/**
 * Keras's initialisers that draw at random, where a layer's settings do not name one. Layers pass over the
 * others.
 */
const RANDOM_DEFAULTS: Json = {
  kernel_initializer: { class_name: 'GlorotUniform', config: {} },
  recurrent_initializer: { class_name: 'Orthogonal', config: {} },
  depthwise_initializer: { class_name: 'GlorotUniform', config: {} },
  pointwise_initializer: { class_name: 'GlorotUniform', config: {} },
  embeddings_initializer: { class_name: 'RandomUniform', config: { minval: -0.05, maxval: 0.05 } },
};
/** Initialisers without randomness, by class and by Keras's short name. */
const FIXED = new Set(['Zeros', 'Ones', 'Constant', 'Identity', 'zeros', 'ones', 'constant', 'identity']);

/**
 * A copy of a topology whose initialisers are seeded, each by its place; without a seed those that would draw
 * at random give zeros, which is fast, for weights that will be set.
 *
 * @param topology what `LayersModel.toJSON(null, false)` or Keras 2's `model.to_json()` give, parsed.
 */
export function preparedTopology(topology: unknown, seed: number | undefined): Json {
  const root = isObject(topology) && isObject(topology.model_config) ? topology.model_config : topology;
  return prepare(root, 'model', seed) as Json;
}

function prepare(value: unknown, path: string, seed: number | undefined): unknown {
  if (Array.isArray(value)) return value.map((item, index) => prepare(item, `${path}/${index}`, seed));
  if (!isObject(value)) return value;
  const copy: Json = {};
  for (const [key, item] of Object.entries(isLayerConfig(value, path) ? withDefaults(value) : value)) {
    const at = `${path}/${key}`;
    copy[key] = key.endsWith('_initializer') && item ? initializer(item, at, seed) : prepare(item, at, seed);
  }
  return copy;
}

function isLayerConfig(value: Json, path: string): boolean {
  return path.endsWith('/config') && typeof value.name === 'string' && !('layers' in value);
}

function withDefaults(config: Json): Json {
  const given = Object.entries(config).filter(([, value]) => value != null);
  return { ...RANDOM_DEFAULTS, ...Object.fromEntries(given) };
}

function initializer(value: unknown, path: string, seed: number | undefined): unknown {
  const given = isObject(value) ? value : { class_name: className(String(value)), config: {} };
  if (FIXED.has(String(given.class_name))) return given;
  if (seed === undefined) return { class_name: 'Zeros', config: {} };
  const config = isObject(given.config) ? given.config : {};
  return { ...given, config: { ...config, seed: config.seed ?? seedFor(seed, path) } };
}

/** Keras also writes initialisers in short: `glorot_uniform`. */
function className(name: string): string {
  return name.replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase());
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
