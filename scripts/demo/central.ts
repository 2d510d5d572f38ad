/**
 * What central training reaches with the same data, model and budget (as many examples seen as by all devices in all
 * rounds), for comparison. A process of its own that takes what the devices leave of the machine.
 */
import { setPriority } from 'node:os';
import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel } from '../../api/ml/model.ts';
import { scoreModel } from '../../api/ml/scoring/score.ts';
import { trainModel } from '../../api/ml/training/train.ts';
import { loadTestSplit, loadTrainSplit } from '../mnist.ts';
import { architecture, EXAMPLES_A_ROUND, hyperparameters, SEED, toExamples } from './task.ts';

/** What it tells the demo over IPC. */
export type CentralReport = { seen: number; of: number } | { accuracy: number };

const REPORT_STEPS = 50;
/** The devices come first, but whatever else is busy here shall not hold it up for long. */
const NICENESS = 5;

setPriority(NICENESS);
process.once('disconnect', () => process.exit(1));
const report = (message: CentralReport) => process.send?.(message);

const [devices, rounds] = process.argv.slice(2).map(Number) as [number, number];
const budget = devices * rounds * EXAMPLES_A_ROUND;
const train = loadTrainSplit();
const model = await buildModel(await loadBackend(), architecture, { seed: SEED });
const data = toExamples(train);
for (let seen = 0, epoch = 0; seen < budget; epoch += 1) {
  const maxExamples = Math.min(budget - seen, train.labels.length);
  const onProgress = ({ step }: { step: number }) => {
    if (step % REPORT_STEPS === 0) report({ seen: seen + step * hyperparameters.batchSize, of: budget });
  };
  await trainModel(model, data, { ...hyperparameters, maxExamples }, { seed: SEED + epoch, onProgress });
  seen += maxExamples;
  report({ seen, of: budget });
}
const { accuracy } = await scoreModel(model, toExamples(loadTestSplit()));
report({ accuracy });
process.disconnect?.();
