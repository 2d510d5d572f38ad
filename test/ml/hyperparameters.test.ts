import { expect, test } from 'vitest';
import { hyperparametersOf } from '../../api/ml/training/hyperparameters.ts';

test('plain values become hyperparameters, with defaults, and unknown names are passed over', () => {
  expect(hyperparametersOf({})).toMatchObject({ epochs: 1, batchSize: 32, learningRate: 0.1 });
  const plain = {
    epochs: 2,
    batchSize: 64,
    learningRate: 0.2,
    momentum: 0.9,
    maxExamples: 4800,
    color: 'red',
  };
  const hyperparameters = hyperparametersOf(plain);
  expect(hyperparameters).toMatchObject({ epochs: 2, batchSize: 64, momentum: 0.9, maxExamples: 4800 });
  expect(hyperparameters).not.toHaveProperty('color');
});

test.each([
  ['epochs', 0],
  ['epochs', 1.5],
  ['epochs', '3'],
  ['batchSize', 1e9],
  ['learningRate', 0],
  ['learningRate', Number.POSITIVE_INFINITY],
  ['momentum', 1],
  ['maxExamples', -1],
  ['loss', 'toString'],
  ['optimizer', 'toString'],
])('%s %s is refused by its name', (name, value) => {
  expect(() => hyperparametersOf({ [name]: value })).toThrow(name);
});
