import { loadBackend } from '../../api/ml/backend.ts';
import { buildModel, disposeModel, getWeights, type Model, setWeights } from '../../api/ml/model.ts';
import { scoreModel } from '../../api/ml/scoring/score.ts';
import { hyperparametersOf } from '../../api/ml/training/hyperparameters.ts';
import { trainModel } from '../../api/ml/training/train.ts';
import type { Model as ModelDocument } from './generated/types.gen.ts';
import type { NamedTensors, Task, Trainer } from './trainer.ts';

/** Rows of examples with their targets. `U8` inputs are scaled by 1/255, `I32` ones are indices. */
export type Examples = Parameters<typeof trainModel>[1];

/** Examples, or what loads them for a model; called for every task, so that data may come and go. */
export type ExamplesSource = Examples | ((model: ModelDocument) => Examples | Promise<Examples>);

export interface TfjsTrainerOptions {
  data: ExamplesSource;
  /** What evaluate assignments are measured on. Unset: `data`. */
  evaluationData?: ExamplesSource | undefined;
  /** Unset: the fastest that loads here of native, wasm and cpu. */
  backend?: Parameters<typeof loadBackend>[0];
}

/**
 * Trains with TensorFlow.js what the model's architecture describes. The model is kept between tasks, and with it its
 * local tensors, which never travel.
 */
export function createTfjsTrainer({ data, evaluationData = data, backend }: TfjsTrainerOptions): Trainer {
  const modelOf = createModelCache(backend);
  const prepare = async (task: Task) => {
    const model = await modelOf(task.model);
    setWeights(model, await withLocal(model, task.weights));
    return { model, hyperparameters: hyperparametersOf(task.hyperparameters) };
  };
  return {
    async train(task) {
      const { model, hyperparameters } = await prepare(task);
      const { seed, signal, onProgress } = task;
      const examples = await load(data, task.model);
      const result = await trainModel(model, examples, hyperparameters, { seed, signal, onProgress });
      const after = await getWeights(model);
      return {
        weights: new Map([...after].filter(([name]) => task.weights.has(name))),
        numExamples: result.examples,
        metrics: metricsOf(result, hyperparameters.loss),
        scalars: { num_steps: result.steps },
      };
    },
    async evaluate(task) {
      const { model, hyperparameters } = await prepare(task);
      const { loss } = hyperparameters;
      const result = await scoreModel(model, await load(evaluationData, task.model), { loss });
      return { numExamples: result.examples, metrics: metricsOf(result, loss) };
    },
  };
}

function createModelCache(preference: TfjsTrainerOptions['backend']) {
  let held: { key: string; model: Model } | undefined;
  return async ({ name, manifest }: ModelDocument): Promise<Model> => {
    const { architecture } = manifest;
    if (!architecture) throw new Error(`model ${name} has no architecture to build it from`);
    const key = `${name} ${JSON.stringify(architecture)}`;
    if (held?.key === key) return held.model;
    if (held) disposeModel(held.model);
    held = undefined;
    // Local tensors begin with the architecture's initialisers; the others are set anyway.
    const seed = manifest.tensors.some(({ role }) => role === 'local') ? 0 : undefined;
    const model = await buildModel(await loadBackend(preference), architecture, { seed });
    held = { key, model };
    return model;
  };
}

/** What was received, and what the model has of tensors that do not travel. */
async function withLocal(model: Model, received: NamedTensors): Promise<NamedTensors> {
  const complete = [...model.weights.keys()].every((name) => received.has(name));
  return complete ? received : new Map([...(await getWeights(model)), ...received]);
}

function load(source: ExamplesSource, model: ModelDocument): Examples | Promise<Examples> {
  return typeof source === 'function' ? source(model) : source;
}

/** A regression has no accuracy. */
function metricsOf(
  { loss, accuracy }: { loss: number; accuracy: number },
  lossName: string | undefined,
): Record<string, number> {
  return lossName?.startsWith('mean') ? { loss } : { loss, accuracy };
}
