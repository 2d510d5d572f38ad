/**
 * Architectures are data from outside that every device builds, so they are held against a list: layers whose
 * behaviour is fixed by their settings. Whatever could carry code (Lambda layers, marshalled functions,
 * classes of somebody's package) is refused, as is what is not known.
 */

/** The topology of a model in Keras's JSON, as `LayersModel.toJSON` or Keras's `to_json` write it, parsed. */
export type ArchitectureResult = { ok: true; layers: number } | { ok: false; reason: string };

const MODELS = words('Sequential Functional Model');

const LAYERS = words(`
  InputLayer Dense Activation Flatten Reshape Permute RepeatVector Masking Embedding Rescaling
  Conv1D Conv2D Conv3D Conv2DTranspose Conv3DTranspose DepthwiseConv2D SeparableConv1D SeparableConv2D
  Cropping2D UpSampling2D ZeroPadding2D
  MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D
  GlobalMaxPooling1D GlobalMaxPooling2D GlobalAveragePooling1D GlobalAveragePooling2D
  BatchNormalization BatchNormalizationV1 LayerNormalization
  Dropout SpatialDropout1D AlphaDropout GaussianDropout GaussianNoise
  LSTM GRU SimpleRNN ConvLSTM2D RNN LSTMCell GRUCell SimpleRNNCell ConvLSTM2DCell StackedRNNCells
  Bidirectional TimeDistributed
  ReLU LeakyReLU PReLU ELU ThresholdedReLU Softmax
  Add Subtract Multiply Average Maximum Minimum Concatenate Dot`);

/** Named objects that settings of layers are made of. */
const SETTINGS = words(`
  Zeros Ones Constant Identity Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling
  GlorotNormal GlorotUniform HeNormal HeUniform LeCunNormal LeCunUniform LecunNormal LecunUniform
  L1 L2 L1L2 MaxNorm MinMaxNorm NonNeg UnitNorm DTypePolicy Policy`);

const ACTIVATIONS = words(`
  elu gelu gelu_new hard_sigmoid linear log_softmax mish relu relu6 selu sigmoid softmax softplus softsign swish tanh
  hardSigmoid logSoftmax`);

const PACKAGES = /^(keras|tf_keras|tensorflow\.keras|tensorflow\.python\.keras|builtins)(\.[a-z0-9_]+)*$/;
const LAYER_NAME = /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*$/;
const POLLUTING = words('__proto__ constructor prototype');

const MAX_DEPTH = 48;
const MAX_VALUES = 100_000;
const MAX_LAYERS = 2_000;
const MAX_TEXT = 256;
const MAX_NAME = 100;

interface Walk {
  values: number;
  layers: number;
  /** The innermost named layer, for the reason. */
  within: string;
}
type Json = Record<string, unknown>;
type Fault = string | undefined;

/** Holds an architecture's topology against the list. The reason names the layer. */
export function checkArchitecture(value: unknown): ArchitectureResult {
  const wrapped = isObject(value) && isObject(value.model_config) ? value.model_config : value;
  if (!isObject(wrapped) || typeof wrapped.class_name !== 'string' || !MODELS.has(wrapped.class_name)) {
    return { ok: false, reason: 'the topology is not a Sequential or Functional model' };
  }
  const walk: Walk = { values: 0, layers: 0, within: 'the model' };
  const reason = valueFault(value, 0, walk) ?? modelFault(wrapped);
  if (reason !== undefined) return { ok: false, reason };
  if (walk.layers === 0) return { ok: false, reason: 'the model has no layers' };
  return { ok: true, layers: walk.layers };
}

/** Every value of the topology, whatever its place: nothing that is not looked at can hide anything. */
function valueFault(value: unknown, depth: number, walk: Walk): Fault {
  walk.values += 1;
  if (walk.values > MAX_VALUES) return `the topology has more than ${MAX_VALUES} values`;
  if (depth > MAX_DEPTH) return `the topology is nested more than ${MAX_DEPTH} deep`;
  if (typeof value === 'string') {
    return value.length > MAX_TEXT
      ? `${walk.within} has a text of more than ${MAX_TEXT} characters`
      : undefined;
  }
  if (value === null || typeof value === 'boolean') return undefined;
  if (typeof value === 'number')
    return Number.isFinite(value) ? undefined : `${walk.within} has a number that is not finite`;
  if (Array.isArray(value)) return firstFault(value, (item) => valueFault(item, depth + 1, walk));
  if (!isObject(value)) return `${walk.within} has a value that is not JSON`;
  return objectFault(value, depth, walk);
}

function objectFault(object: Json, depth: number, walk: Walk): Fault {
  const outer = walk.within;
  const isNamed = 'class_name' in object;
  const fault = (isNamed ? classFault(object, walk) : undefined) ?? keysFault(object, walk);
  if (fault !== undefined) return fault;
  const inner = firstFault(Object.values(object), (item) => valueFault(item, depth + 1, walk));
  walk.within = outer;
  return inner;
}

function classFault(object: Json, walk: Walk): Fault {
  const { class_name: className, config, module, registered_name: registered } = object;
  if (typeof className !== 'string') return `${walk.within} has a class name that is not a text`;
  const isLayer = LAYERS.has(className) || MODELS.has(className);
  const name = isObject(config) && typeof config.name === 'string' ? config.name : undefined;
  const label = name === undefined ? `'${className}' in ${walk.within}` : `layer '${name}' (${className})`;
  if (!isLayer && !SETTINGS.has(className)) return `${label} is not an allowed class`;
  if (module != null && !(typeof module === 'string' && PACKAGES.test(module))) {
    return `${label} is of module '${String(module)}', not of Keras`;
  }
  if (registered != null && registered !== className)
    return `${label} is registered as '${String(registered)}'`;
  if (isLayer) {
    walk.within = label;
    if (LAYERS.has(className)) walk.layers += 1;
    if (walk.layers > MAX_LAYERS) return `the model has more than ${MAX_LAYERS} layers`;
  }
  return undefined;
}

function keysFault(object: Json, walk: Walk): Fault {
  for (const [key, value] of Object.entries(object)) {
    if (POLLUTING.has(key)) return `${walk.within} has a setting '${key}'`;
    if (key === 'function' || key === 'function_type' || key === '__lambda__')
      return `${walk.within} carries a function`;
    if (key.length > MAX_NAME) return `${walk.within} has a setting with too long a name`;
    if (key.endsWith('activation') && value != null && !isKnownActivation(value)) {
      return `${walk.within} has an activation that is not Keras's own`;
    }
  }
  return undefined;
}

/** A name, or a layer that acts as one (ReLU), which the walk looks at by itself. */
function isKnownActivation(value: unknown): boolean {
  return typeof value === 'string' ? ACTIVATIONS.has(value) : isObject(value) && 'class_name' in value;
}

/** The layers of a model are named, each once: a tensor's name begins with its layer's. */
function modelFault(model: Json): Fault {
  const { config } = model;
  const layers = Array.isArray(config) ? config : isObject(config) ? config.layers : undefined;
  if (!Array.isArray(layers)) return 'a model has no list of layers';
  const names = new Set<string>();
  return firstFault(layers, (layer, index) => {
    if (!isObject(layer) || !isObject(layer.config)) return `layer ${index} has no settings`;
    const { class_name: className, config: settings } = layer;
    if (typeof className !== 'string' || !(LAYERS.has(className) || MODELS.has(className)))
      return `layer ${index} is not a layer`;
    const { name } = settings as Json;
    if (typeof name !== 'string' || name.length > MAX_NAME || !LAYER_NAME.test(name)) {
      return `layer ${index} (${className}) has no name of letters, digits and _.-/`;
    }
    if (names.has(name)) return `two layers are named '${name}'`;
    names.add(name);
    return MODELS.has(className) ? modelFault(layer) : undefined;
  });
}

function firstFault<T>(items: readonly T[], faultOf: (item: T, index: number) => Fault): Fault {
  for (const [index, item] of items.entries()) {
    const fault = faultOf(item, index);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function words(list: string): ReadonlySet<string> {
  return new Set(list.trim().split(/\s+/));
}
