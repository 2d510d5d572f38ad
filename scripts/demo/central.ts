/**
 * What central training reaches with the same data, model and budget (as many examples seen as by all devices in all
 * rounds), for comparison. A process of its own at low priority; answers over IPC.
 */
import { setPriority } from 'node:os';
import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel } from '../../api/ml/model.ts';
import { scoreModel } from '../../api/ml/score.ts';
import { trainModel } from '../../api/ml/train.ts';
import { loadMnist } from '../mnist.ts';
import { architecture, EXAMPLES_A_ROUND, hyperparameters, SEED, toExamples } from './task.ts';

const [devices, rounds] = process.argv.slice(2).map(Number) as [number, number];
const LOW_PRIORITY = 10;
setPriority(LOW_PRIORITY);
process.once('disconnect', () => process.exit(1));

const { train, test } = loadMnist();
const model = await buildModel(await loadBackend(), architecture, { seed: SEED });
const data = toExamples(train);
let left = devices * rounds * EXAMPLES_A_ROUND;
for (let epoch = 0; left > 0; epoch += 1) {
  const maxExamples = Math.min(left, train.labels.length);
  await trainModel(model, data, { ...hyperparameters, maxExamples }, { seed: SEED + epoch });
  left -= maxExamples;
}
const { accuracy } = await scoreModel(model, toExamples(test));
process.send?.({ accuracy });
process.disconnect?.();
