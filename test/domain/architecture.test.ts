import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkArchitecture } from '../../api/domain/architecture.ts';

type Json = Record<string, unknown>;

const layer = (className: string, config: Json = {}, rest: Json = {}): Json => ({
  class_name: className,
  config: { name: className.toLowerCase(), ...config },
  ...rest,
});
const dense = layer('Dense', {
  units: 10,
  activation: 'softmax',
  kernel_initializer: { class_name: 'GlorotUniform', config: { seed: null } },
  kernel_regularizer: { class_name: 'L1L2', config: { l1: 0, l2: 0.01 } },
});
const sequential = (...layers: unknown[]): Json => ({
  class_name: 'Sequential',
  config: { name: 'm', layers },
});

function reasonFor(value: unknown): string {
  const result = checkArchitecture(value);
  return result.ok ? '' : result.reason;
}

describe('what is taken', () => {
  test('a Sequential model', () => {
    const model = sequential(
      layer('Conv2D', { batch_input_shape: [null, 28, 28, 1] }),
      layer('Flatten'),
      dense,
    );
    expect(checkArchitecture(model)).toEqual({ ok: true, layers: 3 });
  });

  test('a Functional model with inbound nodes, inside model_config', () => {
    const inbound_nodes = [[['input', 0, 0, {}]]];
    const model = {
      class_name: 'Functional',
      config: {
        name: 'f',
        layers: [layer('InputLayer', { name: 'input' }), { ...dense, inbound_nodes }],
        input_layers: [['input', 0, 0]],
        output_layers: [['dense', 0, 0]],
      },
    };
    expect(checkArchitecture({ keras_version: '2.15.0', model_config: model })).toEqual({
      ok: true,
      layers: 2,
    });
  });

  test('nested models and wrappers count their layers', () => {
    const wrapped = layer('Bidirectional', { layer: layer('LSTM', { units: 4 }), merge_mode: 'concat' });
    const inner = { class_name: 'Sequential', config: { name: 'inner', layers: [dense] } };
    expect(checkArchitecture(sequential(inner, wrapped))).toEqual({ ok: true, layers: 3 });
  });

  test('layers that say that they are of Keras', () => {
    const named = layer('Dense', {}, { module: 'keras.layers', registered_name: null });
    expect(checkArchitecture(sequential(named))).toEqual({ ok: true, layers: 1 });
  });
});

describe('what carries code is refused, and the layer named', () => {
  const refused: [string, Json, RegExp][] = [
    ['a Lambda layer', layer('Lambda', { function: ['4wEAAA==', null, null] }), /'lambda' \(Lambda\)/],
    ['a TFOpLambda layer', layer('TFOpLambda', { function: 'math.add' }), /TFOpLambda/],
    ['an unknown class', layer('MyLayer'), /'mylayer' \(MyLayer\)/],
    [
      'a foreign module',
      layer('Dense', {}, { module: 'evil.layers' }),
      /'dense' \(Dense\) is of module 'evil.layers'/,
    ],
    ['a module that begins like Keras', layer('Dense', {}, { module: 'kerasevil' }), /kerasevil/],
    ['a registered custom class', layer('Dense', {}, { registered_name: 'pkg>Dense' }), /pkg>Dense/],
    [
      'a marshalled lambda as activation',
      layer('Dense', { activation: { class_name: '__lambda__', config: { value: 'x' } } }),
      /__lambda__.*'dense'/,
    ],
    [
      'a function as activation',
      layer('Dense', { activation: { class_name: 'function', config: 'relu', registered_name: 'function' } }),
      /function.*'dense'/,
    ],
    ['an activation of somebody', layer('Dense', { activation: 'pkg>act' }), /'dense'.*activation/],
    [
      'a recurrent activation of somebody',
      layer('LSTM', { recurrent_activation: 'evil' }),
      /'lstm'.*activation/,
    ],
    ['a function setting', layer('Dense', { units: { function: 'x' } }), /'dense'.*carries a function/],
    ['function_type', layer('Dense', { function_type: 'lambda' }), /carries a function/],
    ['a Lambda in a wrapper', layer('TimeDistributed', { layer: layer('Lambda') }), /'lambda' \(Lambda\)/],
    ['an unknown cell', layer('RNN', { cell: layer('EvilCell') }), /EvilCell/],
    [
      'an unknown initialiser',
      layer('Dense', { kernel_initializer: { class_name: 'Evil', config: {} } }),
      /Evil/,
    ],
    [
      'a Lambda in a nested model',
      { class_name: 'Sequential', config: { name: 'in', layers: [layer('Lambda')] } },
      /Lambda/,
    ],
    ['a prototype key', layer('Dense', JSON.parse('{"__proto__": {"x": 1}}') as Json), /dense|__proto__/],
    ['a long text', layer('Dense', { note: 'x'.repeat(300) }), /'dense'.*256 characters/],
  ];
  test.each(refused)('%s', (_, bad, reason) => {
    expect(reasonFor(sequential(layer('InputLayer'), bad))).toMatch(reason);
  });

  test('the prototype key itself', () => {
    const text = '{"class_name":"Sequential","config":{"name":"m","layers":[],"__proto__":{"a":1}}}';
    expect(reasonFor(JSON.parse(text))).toMatch('__proto__');
  });
});

describe('what is no model is refused', () => {
  test.each([
    [null],
    [7],
    ['Sequential'],
    [[]],
    [{}],
    [{ class_name: 'Dense', config: {} }],
    [{ class_name: 7 }],
  ])('%j', (value) => expect(reasonFor(value)).toMatch('not a Sequential or Functional'));
  test('without layers', () => {
    expect(reasonFor(sequential())).toMatch('no layers');
    expect(reasonFor({ class_name: 'Sequential', config: { name: 'm' } })).toMatch('no list of layers');
  });
  test('a setting among the layers', () => {
    expect(reasonFor(sequential({ class_name: 'Zeros', config: { name: 'z' } }))).toMatch(
      'layer 0 is not a layer',
    );
  });
  test('a layer without a name, or with one that is taken or odd', () => {
    expect(reasonFor(sequential({ class_name: 'Dense', config: { units: 1 } }))).toMatch(
      'layer 0 (Dense) has no name',
    );
    expect(reasonFor(sequential(dense, dense))).toMatch("two layers are named 'dense'");
    expect(reasonFor(sequential(layer('Dense', { name: 'a b' })))).toMatch('no name of letters');
  });
});

describe('bounds', () => {
  test('depth', () => {
    let value: unknown = dense;
    for (let i = 0; i < 60; i++) value = [value];
    expect(reasonFor(sequential(layer('Dense', { units: value })))).toMatch('nested more than');
  });
  test('values', () => {
    const many = Array.from({ length: 100_001 }, () => 1);
    expect(reasonFor(sequential(layer('Dense', { units: many })))).toMatch('more than 100000 values');
  });
  test('layers', () => {
    const many = Array.from({ length: 2_001 }, (_, i) => layer('Dense', { name: `d${i}` }));
    expect(reasonFor(sequential(...many))).toMatch('more than 2000 layers');
  });
  test('a number that JSON has not', () => {
    expect(reasonFor(sequential(layer('Dense', { units: Number.NaN })))).toMatch('not finite');
  });
});

test('any JSON gets an answer, and a class outside the list never passes', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.string({ minLength: 1, maxLength: 12 }), (value, className) => {
      expect(typeof checkArchitecture(value).ok).toBe('boolean');
      const hidden = sequential(
        layer('Dense', { extra: [value, { class_name: `Evil${className}`, config: {} }] }),
      );
      expect(checkArchitecture(hidden).ok).toBe(false);
    }),
  );
});
