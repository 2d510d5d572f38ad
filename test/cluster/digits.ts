import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel, disposeModel, getWeights, manifestOf } from '../../api/ml/model.ts';
import type { CreateModel, NamedTensors, Operator } from '../../clients/typescript/index.ts';
import { encodeExamples } from '../../clients/typescript/operator/evaluation-file.ts';
import { architecture } from '../../scripts/demo/task.ts';
import { loadTestSplit, loadTrainImages, loadTrainLabels, MNIST_PIXELS } from '../../scripts/mnist.ts';

/** The model that the environment `dev` has a release and a run of. */
export const MODEL = 'mnist';
const SEED = 7;
/** Of all agents together. They lie in the file by chance, so that each agent's share has every digit. */
const TRAINING_EXAMPLES = 9_000;
const TEST_EXAMPLES = 2_000;

/** Labelled digits where the agents' volume is, as an evaluation set has them. */
export async function writeTrainingData(folder: string): Promise<void> {
  const rows = Uint32Array.from({ length: TRAINING_EXAMPLES }, (_, row) => row);
  const x = { shape: [rows.length, MNIST_PIXELS], values: loadTrainImages(rows) };
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, `${MODEL}.safetensors`),
    encodeExamples({ x, y: loadTrainLabels().slice(0, rows.length) }),
  );
}

/** A perceptron with its first, untrained version, and digits to score every version on. */
export async function createDigitsModel(operator: Operator): Promise<void> {
  const { tensors, weights } = await makeWeights();
  const manifest = { tensors, architecture } as CreateModel['manifest'];
  await operator.createModel({ name: MODEL, description: 'Handwritten digits', manifest });
  await operator.uploadVersion(MODEL, weights);
  const test = loadTestSplit();
  const images = test.images.slice(0, TEST_EXAMPLES * MNIST_PIXELS);
  const x = { shape: [TEST_EXAMPLES, MNIST_PIXELS], values: images };
  await operator.uploadEvaluationSet(MODEL, { x, y: test.labels.slice(0, TEST_EXAMPLES) });
}

async function makeWeights() {
  const built = await buildModel(await loadBackend(), architecture, { seed: SEED });
  const made = { tensors: manifestOf(built).tensors, weights: (await getWeights(built)) as NamedTensors };
  disposeModel(built);
  return made;
}

/** A version that guesses. */
export function makeNoise(weights: NamedTensors): NamedTensors {
  let state = SEED;
  const next = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return new Map(
    [...weights].map(([name, { shape, values }]) => [name, { shape, values: values.map(next) }]),
  );
}
