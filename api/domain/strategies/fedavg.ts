import type { Accumulator, FoldStrategy } from './strategy.ts';
import type { Vector } from './vector.ts';

/**
 * Federated averaging: w' = w + sum(n_k * delta_k) / sum(n_k), n_k the update's number of examples
 * (McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017).
 *
 * `maxWeight` caps n_k, so that one device that claims a million examples cannot own the round.
 */
export interface FedAvgParameters {
  maxWeight: number;
}

interface FedAvgAccumulator extends Accumulator {
  vectors: readonly [Vector];
  scalars: { weight: number };
}

const DEFAULT_MAX_WEIGHT = 100_000;

export const fedAvg: FoldStrategy<FedAvgParameters, FedAvgAccumulator> = {
  name: 'fedavg',

  parse(parameters) {
    const { maxWeight = DEFAULT_MAX_WEIGHT, ...rest } = parameters;
    const [unknown] = Object.keys(rest);
    if (unknown !== undefined) return { ok: false, reason: `fedavg has no parameter ${unknown}` };
    if (typeof maxWeight !== 'number' || !(maxWeight >= 1 && maxWeight <= 1e9)) {
      return { ok: false, reason: 'maxWeight is a number from 1 to 1e9' };
    }
    return { ok: true, parameters: { maxWeight } };
  },

  wire: () => ({ down: [], up: [], scalars: [] }),

  weigh: ({ maxWeight }, { numExamples }) => Math.min(numExamples, maxWeight),

  begin: (_parameters, kernels, range) => ({
    range,
    vectors: [kernels.zeros(range.length)],
    scalars: { weight: 0 },
  }),

  add(accumulator, kernels, weight, chunk) {
    const { range, vectors, scalars } = accumulator;
    if (chunk.start === range.start) scalars.weight += weight;
    kernels.addScaled(vectors[0], chunk.start - range.start, chunk.values, weight);
  },

  finish({ range, vectors, scalars }, kernels, base) {
    return kernels.applyScaled(vectors[0], base.start - range.start, base.values.bytes, 1 / scalars.weight);
  },
};
