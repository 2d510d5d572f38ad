import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel, disposeModel, getWeights, manifestOf } from '../../api/ml/model.ts';
import type { CreateModel } from '../../clients/typescript/generated/types.gen.ts';
import type { Operator } from '../../clients/typescript/operator/operator.ts';
import { loadMnist, MNIST_PIXELS } from '../mnist.ts';
import { architecture, hyperparameters, SEED } from './task.ts';

type Run = Awaited<ReturnType<Operator['createRun']>>;

const HOUR_MS = 3_600_000;
/** A stopped demo may be resumed days later: until then its round waits for the devices. */
const PATIENCE_MS = 30 * 24 * HOUR_MS;

/** The run that an earlier demo left in the middle, or a new one of a new model. */
export async function prepareRun(
  operator: Operator,
  { devices, rounds }: { devices: number; rounds: number },
): Promise<{ run: Run; resumed: boolean }> {
  const earlier = await operator.listRuns();
  const open = earlier.find(({ state }) => state === 'active' || state === 'paused');
  if (open?.state === 'paused') return { run: await operator.resumeRun(open.id), resumed: true };
  if (open) return { run: open, resumed: true };
  const model = `digits-${earlier.length + 1}`;
  await createModel(operator, model);
  const run = await operator.createRun({
    model,
    name: 'MNIST demo',
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

/** A model with seeded initial weights and the 10,000 test images as its evaluation set. */
async function createModel(operator: Operator, name: string): Promise<void> {
  const built = await buildModel(await loadBackend(), architecture, { seed: SEED });
  const { tensors } = manifestOf(built);
  const manifest = { tensors, architecture } as CreateModel['manifest'];
  await operator.createModel({ name, description: 'Handwritten digits (MNIST): a perceptron', manifest });
  await operator.uploadVersion(name, await getWeights(built));
  disposeModel(built);
  const { test } = loadMnist();
  const x = { shape: [test.labels.length, MNIST_PIXELS], values: test.images };
  await operator.uploadEvaluationSet(name, { x, y: test.labels });
}

/** A token with which the devices of this demo, and no more, can enrol within the hour. */
export async function createToken(operator: Operator, devices: number): Promise<string> {
  const body = { name: 'demo', maxUses: devices, expiresInSeconds: HOUR_MS / 1000 };
  const { token } = await operator.createEnrollmentToken(body);
  return token;
}
