import * as tf from '@tensorflow/tfjs-core';
import type { Examples, Inputs } from '../../domain/ml.ts';
import type { Model } from '../model.ts';
import type { Objective } from './losses.ts';

/** A batch on the backend; the caller disposes both. */
export interface Batch {
  x: tf.Tensor;
  target: tf.Tensor;
}

/** The number of examples. Throws when inputs or targets do not fit the model. */
export function countExamples(model: Model, { x, y }: Examples, objective: Objective): number {
  const [count = 0, ...rest] = x.shape;
  if (model.layers.inputs.length !== 1 || model.layers.outputs.length !== 1) {
    throw new Error('only models of one input and one output are trained and scored');
  }
  const expected = model.layers.inputs[0]!.shape.slice(1);
  if (
    expected.length !== rest.length ||
    expected.some((size, axis) => size !== null && size !== rest[axis])
  ) {
    throw new Error(
      `examples have shape [${rest}], the model takes [${expected.map((size) => size ?? 'any')}]`,
    );
  }
  if (x.values.length !== count * rowLength(x)) throw new Error('inputs are not as long as their shape');
  if (y.length !== count * targetLength(model, objective)) {
    throw new Error(`${y.length} targets for ${count} examples of ${targetLength(model, objective)} each`);
  }
  return count;
}

/**
 * Cuts the examples at `rows` into tensors of their own. (The layers package's own batching slices one large
 * tensor, which on wasm copies all of it for each batch.)
 */
export function cutBatch(model: Model, data: Examples, rows: ArrayLike<number>, objective: Objective): Batch {
  const width = rowLength(data.x);
  const labels = targetLength(model, objective);
  const x = new Float32Array(rows.length * width);
  const target = new (objective.targetDtype === 'int32' ? Int32Array : Float32Array)(rows.length * labels);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    const values = data.x.values.subarray(row * width, (row + 1) * width);
    if (data.x.dtype === 'U8') scaleInto(x, values, i * width);
    else x.set(values, i * width);
    target.set(data.y.subarray(row * labels, (row + 1) * labels), i * labels);
  }
  const shape = objective.targetShape(outputShape(model, rows.length));
  return {
    x: tf.tensor(x, [rows.length, ...data.x.shape.slice(1)], 'float32'),
    target: tf.tensor(target, shape, objective.targetDtype),
  };
}

/** 8-bit values as fractions of 255. */
const FRACTIONS = Float32Array.from({ length: 256 }, (_, value) => value / 255);

function scaleInto(to: Float32Array, bytes: ArrayLike<number>, at: number): void {
  for (let i = 0; i < bytes.length; i++) to[at + i] = FRACTIONS[bytes[i]!]!;
}

function rowLength({ shape }: Inputs): number {
  return shape.slice(1).reduce((product, size) => product * size, 1);
}

function targetLength(model: Model, objective: Objective): number {
  return objective.targetShape(outputShape(model, 1)).reduce((product, size) => product * size, 1);
}

function outputShape(model: Model, count: number): number[] {
  const shape = model.layers.outputs[0]!.shape.slice(1);
  if (shape.some((size) => size === null))
    throw new Error('models with outputs of unknown length are not trained');
  return [count, ...(shape as number[])];
}
