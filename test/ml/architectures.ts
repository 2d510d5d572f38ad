import type { Architecture } from '../../api/domain/manifest.ts';

type Config = Record<string, unknown>;

function sequential(...layers: [className: string, config: Config][]): Architecture {
  const list = layers.map(([class_name, config]) => ({ class_name, config: { trainable: true, ...config } }));
  return {
    format: 'tfjs-layers',
    topology: { class_name: 'Sequential', config: { name: 'model', layers: list } },
  };
}

export const mlp = sequential(
  ['Dense', { name: 'hidden', units: 16, activation: 'relu', batch_input_shape: [null, 12] }],
  ['Dense', { name: 'output', units: 3, activation: 'softmax' }],
);

export const cnn = sequential(
  [
    'Conv2D',
    { name: 'conv', filters: 6, kernel_size: [3, 3], padding: 'same', batch_input_shape: [null, 10, 10, 2] },
  ],
  ['BatchNormalization', { name: 'norm', axis: -1, momentum: 0.9, epsilon: 0.001 }],
  ['ReLU', { name: 'relu' }],
  ['MaxPooling2D', { name: 'pool', pool_size: [2, 2], strides: [2, 2], padding: 'valid' }],
  ['DepthwiseConv2D', { name: 'depthwise', kernel_size: [3, 3], strides: [1, 1], padding: 'same' }],
  [
    'Conv2D',
    {
      name: 'strided',
      filters: 8,
      kernel_size: [3, 3],
      strides: [2, 2],
      padding: 'same',
      activation: 'relu',
    },
  ],
  ['GlobalAveragePooling2D', { name: 'average' }],
  ['Dropout', { name: 'dropout', rate: 0 }],
  ['Dense', { name: 'output', units: 3, activation: 'softmax', kernel_regularizer: l2(0.01) }],
);

export const lstm = sequential(
  ['Embedding', { name: 'embedding', input_dim: 20, output_dim: 6, batch_input_shape: [null, 7] }],
  ['LSTM', { name: 'lstm', units: 8, activation: 'tanh', recurrent_activation: 'sigmoid' }],
  ['Dense', { name: 'output', units: 3, activation: 'softmax' }],
);

export const dropout = sequential(
  ['Dense', { name: 'hidden', units: 32, activation: 'relu', batch_input_shape: [null, 12] }],
  ['Dropout', { name: 'dropout', rate: 0.5 }],
  ['Dense', { name: 'output', units: 3, activation: 'softmax' }],
);

/** A nested model and a bidirectional layer, for names. */
export const nested = sequential(
  ['Embedding', { name: 'embedding', input_dim: 20, output_dim: 6, batch_input_shape: [null, 7] }],
  [
    'Bidirectional',
    { name: 'both', merge_mode: 'concat', layer: { class_name: 'GRU', config: { name: 'gru', units: 4 } } },
  ],
  ['Sequential', { name: 'head', layers: headLayers() }],
);

function headLayers(): unknown[] {
  const hidden = { name: 'hidden', units: 5, activation: 'relu', batch_input_shape: [null, 8] };
  return [
    { class_name: 'Dense', config: hidden },
    { class_name: 'BatchNormalization', config: { name: 'norm', axis: -1 } },
    { class_name: 'Dense', config: { name: 'output', units: 3, activation: 'softmax' } },
  ];
}

function l2(factor: number): Config {
  return { class_name: 'L1L2', config: { l1: 0, l2: factor } };
}
