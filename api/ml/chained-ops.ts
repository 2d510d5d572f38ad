import * as tf from '@tensorflow/tfjs-core';

/** What the layers package and the native backend call as methods of a tensor. */
const CHAINED = [
  'abs add argMax as1D cast concat div equal expandDims flatten gather greater matMul max mean min mul neg pad',
  'reshape reshapeAs round sign slice softmax split sqrt square squeeze stack stridedSlice sub sum tile toInt transpose',
]
  .join(' ')
  .split(' ');

/**
 * Adds operations to tensors as methods. The umbrella package does it for all of them, as an ES module that
 * Node cannot import; an initialiser of recurrent layers (Orthogonal) fails without them.
 */
export function chainOps(): void {
  const operations = tf as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>;
  const prototype = tf.Tensor.prototype as unknown as Record<string, unknown>;
  prototype.flatten ??= function flatten(this: tf.Tensor) {
    return tf.reshape(this, [this.size]);
  };
  for (const name of CHAINED) {
    const operation = operations[name];
    if (!operation) continue;
    prototype[name] ??= function chained(this: tf.Tensor, ...args: unknown[]) {
      return operation(this, ...args);
    };
  }
}
