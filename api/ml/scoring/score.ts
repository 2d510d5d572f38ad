import * as tf from '@tensorflow/tfjs-core';
import type { Examples, LossName, ScoreResult } from '../../domain/ml.ts';
import type { Model } from '../model.ts';
import { countExamples, cutBatch } from '../training/batches.ts';
import { objectiveOf } from '../training/losses.ts';

export interface ScoreOptions {
  loss?: LossName | undefined;
  /** Bounds memory: a batch's activations are held at once. Another size moves the loss by rounding only. */
  batchSize?: number | undefined;
}

/** Mean loss and accuracy of the model on labelled examples. Changes nothing of the model. */
export async function scoreModel(
  model: Model,
  data: Examples,
  { loss, batchSize = 500 }: ScoreOptions = {},
): Promise<ScoreResult> {
  const objective = objectiveOf(loss);
  const examples = countExamples(model, data, objective);
  if (examples === 0) throw new Error('there are no examples to score on');
  const total = { loss: 0, accuracy: 0 };
  for (let from = 0; from < examples; from += batchSize) {
    const rows = Uint32Array.from({ length: Math.min(batchSize, examples - from) }, (_, i) => from + i);
    model.backend.activate();
    const batch = cutBatch(model, data, rows, objective);
    const means = tf.tidy(() => {
      const output = model.layers.apply(batch.x, { training: false }) as tf.Tensor;
      return [objective.loss(batch.target, output), objective.accuracy(batch.target, output)] as const;
    });
    const [lossValue, accuracy] = await Promise.all(means.map((mean) => mean.data()));
    tf.dispose([batch.x, batch.target, ...means]);
    total.loss += lossValue![0]! * rows.length;
    total.accuracy += accuracy![0]! * rows.length;
  }
  return { examples, loss: total.loss / examples, accuracy: total.accuracy / examples };
}
