/**
 * Makes a small classifier for rows of numbers and trains it on the devices that are there.
 *
 *   node clients/typescript/examples/csv-run.ts URL OPERATOR_KEY MODEL FEATURES CLASSES [DEVICES]
 */
import { createOperator } from '../index.ts';
import { createTfjsModel } from '../tfjs.ts';

const [url, key, name, ...sizes] = process.argv.slice(2);
const [features, classes, devices = 2] = sizes.map(Number);
if (!url || !key || !name || !features || !classes) {
  throw new Error('usage: csv-run.ts URL OPERATOR_KEY MODEL FEATURES CLASSES [DEVICES]');
}
const dense = (config: object) => ({ class_name: 'Dense', config });
const architecture = {
  format: 'tfjs-layers' as const,
  topology: {
    class_name: 'Sequential',
    config: {
      name,
      layers: [
        dense({ name: 'hidden', units: 16, activation: 'relu', batch_input_shape: [null, features] }),
        dense({ name: 'output', units: classes, activation: 'softmax' }),
      ],
    },
  },
};

const operator = createOperator({ url, key });
const { manifest, weights } = await createTfjsModel(architecture, { seed: 1 });
await operator.createModel({ name, manifest });
await operator.uploadVersion(name, weights);
const run = await operator.createRun({
  model: name,
  rounds: 10,
  quorum: devices,
  capacity: devices,
  hyperparameters: { epochs: 5, batchSize: 16, learningRate: 0.1 },
});
for (let number = 1; number <= run.rounds; number++) {
  const { state, metrics, reason } = await operator.waitForRound(run.id, number);
  console.log(`round ${number}: ${state}`, metrics ?? reason);
}
console.log(`run ${run.id}: ${(await operator.waitForRun(run.id)).state}`);
