import type { Architecture } from './manifest.ts';

/** What computes: tfjs-node's addon, WebAssembly (SIMD, one thread), or plain JavaScript. */
export type MlBackendName = 'native' | 'wasm' | 'cpu';

export interface MlBackend {
  readonly name: MlBackendName;
  /** Makes this backend the one that computes. Cheap; for a process that has loaded more than one. */
  activate(): void;
}

export interface NamedTensor {
  shape: readonly number[];
  /** Row-major. */
  values: Float32Array<ArrayBuffer>;
}

/** Weights by the name that the manifest gives them. */
export type NamedTensors = ReadonlyMap<string, NamedTensor>;

/**
 * Rows of examples. The first dimension counts them. `U8` is scaled by 1/255 (images), `I32` holds indices
 * (tokens).
 */
export interface Inputs {
  shape: readonly number[];
  dtype: 'F32' | 'U8' | 'I32';
  values: Float32Array | Uint8Array | Int32Array;
}

/**
 * Examples with their targets: class indices for a classifier, values for a regression; one row an example.
 */
export interface Examples {
  x: Inputs;
  y: Int32Array | Uint8Array | Float32Array;
}

export type LossName =
  | 'sparseCategoricalCrossentropy'
  | 'binaryCrossentropy'
  | 'meanSquaredError'
  | 'meanAbsoluteError';
export type OptimizerName = 'sgd' | 'momentum' | 'adam' | 'rmsprop' | 'adagrad';

/** How a device trains. Plain data: no code travels. */
export interface Hyperparameters {
  epochs: number;
  batchSize: number;
  learningRate: number;
  loss?: LossName | undefined;
  optimizer?: OptimizerName | undefined;
  momentum?: number | undefined;
  /** Of more examples than this, so many are drawn by seed: it bounds a device's work in a round. */
  maxExamples?: number | undefined;
}

/**
 * `loss` and `accuracy` are means over the last epoch, as the steps saw them; `examples` were used, each
 * `epochs` times.
 */
export interface TrainResult {
  examples: number;
  steps: number;
  loss: number;
  accuracy: number;
}

/** Accuracy of a regression is 0. */
export interface ScoreResult {
  examples: number;
  loss: number;
  accuracy: number;
}

/** An evaluation set as it lies in a file: row-major little-endian bytes. */
export interface EvaluationSet {
  x: { shape: readonly number[]; dtype: Inputs['dtype']; bytes: Uint8Array };
  y: Int32Array | Uint8Array | Float32Array;
}

export interface ScoreRequest {
  architecture: Architecture;
  /** Taken over by the scorer: arrays that own their buffer are moved to its thread and empty afterwards. */
  tensors: NamedTensors;
  evaluationSet: EvaluationSet | (() => Promise<EvaluationSet>);
  /**
   * A digest of the set. With it, the thread keeps the last set, and a function is called only for another
   * one.
   */
  evaluationKey?: string | undefined;
  loss?: LossName | undefined;
}

/** Scores model versions off the event loop. */
export interface Scorer {
  score(request: ScoreRequest): Promise<ScoreResult>;
  close(): Promise<void>;
}
