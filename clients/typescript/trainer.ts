import type { Assignment, Model } from './generated/types.gen.ts';

export interface NamedTensor {
  shape: readonly number[];
  /** Row-major. */
  values: Float32Array<ArrayBuffer>;
}

/** Weights by the name that the model's manifest gives them. */
export type NamedTensors = ReadonlyMap<string, NamedTensor>;

export interface Task {
  /** The model with its manifest, and its architecture if it has one. */
  model: Model;
  /** The weights that the server sent. They are not to be changed: the update is the difference to them. */
  weights: NamedTensors;
  hyperparameters: Assignment['hyperparameters'];
  /** Differs between rounds and devices. */
  seed: number;
  /** Aborted when the agent stops and when the deadline has passed: nobody wants the result any more. */
  signal: AbortSignal;
  onProgress(progress: Progress): void;
}

export interface Progress {
  step: number;
  steps: number;
  loss?: number | undefined;
}

export interface Evaluation {
  numExamples: number;
  /** Finite numbers by name. */
  metrics: Record<string, number>;
}

export interface Training extends Evaluation {
  /** Every tensor that was received, after training. */
  weights: NamedTensors;
  /** What the strategy asks for beside the weights, as `num_steps`. */
  scalars?: Record<string, number> | undefined;
}

/** What trains on the device's own data. Nothing of that data leaves it but what is returned here. */
export interface Trainer {
  train(task: Task): Promise<Training>;
  /** Without it the agent gives evaluate assignments back. */
  evaluate?(task: Task): Promise<Evaluation>;
}

/** Thrown by a trainer that will not do it now: the assignment is given back, and the server invites another device. */
export class Declined extends Error {
  readonly reason: 'battery' | 'no_data' | 'busy';

  constructor(reason: Declined['reason']) {
    super(`the trainer declined: ${reason}`);
    this.name = 'Declined';
    this.reason = reason;
  }
}
