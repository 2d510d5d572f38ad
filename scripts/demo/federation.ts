import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel, disposeModel, getWeights, manifestOf } from '../../api/ml/model.ts';
import type { CreateModel, Model, Run } from '../../clients/typescript/generated/types.gen.ts';
import { hasCode } from '../../clients/typescript/http/problem-error.ts';
import type { Operator } from '../../clients/typescript/operator/operator.ts';
import { loadTestSplit, MNIST_PIXELS } from '../mnist.ts';
import { architecture, hyperparameters, SEED } from './task.ts';

const RUN_NAME = 'MNIST demo';
const HOUR_MS = 3_600_000;
/** A stopped demo may be resumed days later: until then its round waits for the devices. */
const PATIENCE_MS = 30 * 24 * HOUR_MS;

/** The run that an earlier demo left in the middle, or a new one of a new model. */
export async function prepareRun(
  operator: Operator,
  { devices, rounds }: { devices: number; rounds: number },
): Promise<{ run: Run; resumed: boolean }> {
  const runs = await operator.listRuns();
  const open = runs.find(
    ({ name, state }) => name === RUN_NAME && (state === 'active' || state === 'paused'),
  );
  if (open?.state === 'paused') return { run: await operator.resumeRun(open.id), resumed: true };
  if (open) return { run: open, resumed: true };
  const model = nextName(new Set(runs.map((run) => run.model)));
  await prepareModel(operator, model);
  const run = await operator.createRun({
    model,
    name: RUN_NAME,
    rounds,
    quorum: devices,
    capacity: devices,
    hyperparameters,
    seed: SEED,
    deadlineMs: 5 * 60_000,
    pendingMs: PATIENCE_MS,
  });
  return { run, resumed: false };
}

function nextName(taken: ReadonlySet<string>): string {
  for (let number = 1; ; number += 1) {
    if (!taken.has(`digits-${number}`)) return `digits-${number}`;
  }
}

/**
 * A model with seeded initial weights and the 10,000 test images as its evaluation set. An earlier demo may have been
 * stopped anywhere on the way to it.
 */
async function prepareModel(operator: Operator, name: string): Promise<void> {
  const built = await buildModel(await loadBackend(), architecture, { seed: SEED });
  const { tensors } = manifestOf(built);
  const manifest = { tensors, architecture } as CreateModel['manifest'];
  const description = 'Handwritten digits (MNIST): a perceptron';
  const model =
    (await findModel(operator, name)) ?? (await operator.createModel({ name, description, manifest }));
  if (model.head === null) await operator.uploadVersion(name, await getWeights(built));
  disposeModel(built);
  const test = loadTestSplit();
  const x = { shape: [test.labels.length, MNIST_PIXELS], values: test.images };
  await operator.uploadEvaluationSet(name, { x, y: test.labels });
}

async function findModel(operator: Operator, name: string): Promise<Model | undefined> {
  try {
    return await operator.getModel(name);
  } catch (error) {
    if (hasCode(error, 'not_found')) return undefined;
    throw error;
  }
}

/** A token with which the devices of this demo, and no more, can enrol within the hour. */
export async function createToken(operator: Operator, devices: number): Promise<string> {
  const body = { name: 'demo', maxUses: devices, expiresInSeconds: HOUR_MS / 1000 };
  const { token } = await operator.createEnrollmentToken(body);
  return token;
}
