import { expect, test } from 'vitest';
import type { Architecture, Model, Task } from '../../../clients/typescript/index.ts';
import { createTfjsModel, createTfjsTrainer, type Examples } from '../../../clients/typescript/tfjs.ts';
import { mlp } from '../../ml/architectures.ts';

const backend = 'wasm';
const { manifest, weights } = await createTfjsModel(mlp as Architecture, { seed: 3, backend });
const { tensors } = manifest;

/** Three classes, told apart by which third of the inputs is large. */
const examples: Examples = (() => {
  const rows = Array.from({ length: 60 }, (_, row) =>
    Array.from({ length: 12 }, (_, i) =>
      Math.floor(i / 4) === row % 3 ? 1 : ((i * 7 + row * 13) % 10) / 20,
    ),
  );
  return {
    x: { shape: [60, 12], dtype: 'F32', values: Float32Array.from(rows.flat()) },
    y: Int32Array.from(rows, (_, row) => row % 3),
  };
})();

function taskOf(overrides: Partial<Task> = {}): Task {
  return {
    model: { name: 'm', manifest } as Model,
    weights,
    hyperparameters: { epochs: 10, batchSize: 10, learningRate: 0.2 },
    seed: 5,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...overrides,
  };
}

test('learns from the data, the same for the same seed, and leaves what it received alone', async () => {
  const trainer = createTfjsTrainer({ data: examples, backend });
  const received = structuredClone(new Map(weights));
  const steps: number[] = [];
  const before = await trainer.evaluate!(taskOf());
  const first = await trainer.train(taskOf({ onProgress: ({ step }) => steps.push(step) }));
  const after = await trainer.evaluate!(taskOf({ weights: first.weights }));
  expect(after.metrics.loss!).toBeLessThan(before.metrics.loss! / 2);
  expect(after).toMatchObject({ numExamples: 60, metrics: { accuracy: 1 } });
  expect(first).toMatchObject({ numExamples: 60, scalars: { num_steps: 60 } });
  expect(steps).toEqual(Array.from({ length: 60 }, (_, i) => i + 1));
  expect(new Map(weights)).toEqual(received);
  expect((await trainer.train(taskOf())).weights).toEqual(first.weights);
  expect((await trainer.train(taskOf({ seed: 6 }))).weights).not.toEqual(first.weights);
});

test('asks for its data anew for every task', async () => {
  let loads = 0;
  const data = ({ name }: Model) => {
    expect(name).toBe('m');
    loads += 1;
    return examples;
  };
  const trainer = createTfjsTrainer({ data, backend });
  await trainer.train(taskOf({ hyperparameters: { maxExamples: 10 } }));
  await trainer.evaluate!(taskOf());
  expect(loads).toBe(2);
});

test('keeps local tensors between tasks, and never gives them away', async () => {
  const local = new Set(['output/kernel', 'output/bias']);
  const manifest = {
    tensors: tensors.map((tensor) =>
      local.has(tensor.name) ? { ...tensor, role: 'local' as const } : tensor,
    ),
    architecture: mlp,
  };
  const travelling = new Map([...weights].filter(([name]) => !local.has(name)));
  const task = taskOf({ model: { name: 'm', manifest } as Model, weights: travelling });
  const trainer = createTfjsTrainer({ data: examples, backend });
  const losses = [(await trainer.evaluate!(task)).metrics.loss!];
  const trained = await trainer.train(task);
  expect([...trained.weights.keys()]).toEqual(['hidden/kernel', 'hidden/bias']);
  losses.push((await trainer.evaluate!(task)).metrics.loss!);
  expect(losses[1]).toBeLessThan(losses[0]!);
});

test('stops between steps when nobody wants the result', async () => {
  const abort = new AbortController();
  const trainer = createTfjsTrainer({ data: examples, backend });
  const onProgress = ({ step }: { step: number }) => {
    if (step === 2) abort.abort(new Error('enough'));
  };
  await expect(trainer.train(taskOf({ signal: abort.signal, onProgress }))).rejects.toThrow('enough');
});

test.each([
  [
    'a model without an architecture',
    { model: { name: 'm', manifest: { tensors } } as Model },
    'architecture',
  ],
  [
    'weights of another shape',
    { weights: new Map([...weights, ['output/bias', weights.get('hidden/bias')!]]) },
    'shape',
  ],
  ['hyperparameters out of range', { hyperparameters: { epochs: 0 } }, 'epochs'],
])('refuses %s', async (_name, overrides, message) => {
  const trainer = createTfjsTrainer({ data: examples, backend });
  await expect(trainer.train(taskOf(overrides))).rejects.toThrow(message);
});
