import { parentPort, workerData } from 'node:worker_threads';
import type { Architecture } from '../../domain/manifest.ts';
import type { Examples, ScoreResult } from '../../domain/ml.ts';
import { loadBackend } from '../backend.ts';
import { buildModel, disposeModel, type Model, setWeights } from '../model.ts';
import { examplesOf } from './evaluation-sets.ts';
import { scoreModel } from './score.ts';
import type { ScoreMessage, ScoreReply, ThreadOptions } from './score-messages.ts';

/*
 * The worker thread behind `createScorer`. It keeps the last model and the last evaluation set, so that
 * scoring one version after another costs a forward pass.
 */
const { backend: preference } = workerData as ThreadOptions;
const port = parentPort;
if (!port) throw new Error('score-thread.ts runs as a worker thread');

let model: { key: string; model: Model } | undefined;
let held: { key: string; examples: Examples } | undefined;

// One message at a time: the scorer sends the next after the answer.
port.on('message', async (message: ScoreMessage) => port.postMessage(await answer(message)));

async function answer(message: ScoreMessage): Promise<ScoreReply> {
  try {
    return { result: await score(message) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

async function score({
  architecture,
  tensors,
  evaluationKey,
  evaluationSet,
  loss,
}: ScoreMessage): Promise<ScoreResult> {
  if (evaluationSet) held = { key: evaluationKey, examples: examplesOf(evaluationSet) };
  if (held?.key !== evaluationKey) throw new Error('the evaluation set is not held by the thread');
  const built = await modelOf(architecture);
  setWeights(built, tensors);
  return scoreModel(built, held.examples, { loss });
}

async function modelOf(architecture: Architecture): Promise<Model> {
  const key = JSON.stringify(architecture);
  if (model?.key === key) return model.model;
  if (model) disposeModel(model.model);
  model = undefined;
  model = { key, model: await buildModel(await loadBackend(preference), architecture) };
  return model.model;
}
