import type { Manifest } from '../manifest.ts';
import type { EncodedValues, Vector, VectorKernels } from './vector.ts';

/** A slice of the flattened tensors, in elements: the whole model, or one worker's part of it. */
export interface Range {
  start: number;
  length: number;
}

/** What a strategy knows of one update beside its values. */
export interface UpdateFacts {
  numExamples: number;
  /** L2 norm of the whole delta. */
  norm: number;
  /** Publications of the run since the update's base version. */
  staleness: number;
  scalars: Readonly<Record<string, number>>;
}

/**
 * What a strategy adds to the wire: extra tensors down and up, and scalars that every update must carry, whatever the
 * model.
 */
export interface Wire {
  down: Manifest['tensors'];
  up: Manifest['tensors'];
  scalars: readonly string[];
}

export type ParameterResult<P> = { ok: true; parameters: P } | { ok: false; reason: string };

/**
 * A fold strategy: a running combination of updates in sequence order (a monoid action, after the vector-space
 * statistics of pfl-research). Pure: the kernels that it computes with are passed in.
 *
 * An accumulator is filled by consecutive `add` calls: one update's values arrive as chunks in file order that cover
 * the accumulator's range exactly once, one of them beginning at its start, before the next update begins. `scalars`/`restore` carry everything but the vectors,
 * so that a checkpoint resumes with the same bits.
 */
export interface FoldStrategy<P = unknown, A extends Accumulator = Accumulator> {
  readonly name: string;
  /** Parses a run's parameters; unknown or ill-typed ones are refused with the reason. */
  parse(parameters: Readonly<Record<string, unknown>>): ParameterResult<P>;
  wire(manifest: Manifest, parameters: P): Wire;
  /** The update's weight, a finite number >= 0, frozen when the update is accepted. */
  weigh(parameters: P, update: UpdateFacts): number;
  begin(parameters: P, kernels: VectorKernels, range: Range): A;
  /** Folds one chunk; `chunk.start` is in elements of the flattened model. */
  add(accumulator: A, kernels: VectorKernels, weight: number, chunk: Chunk): void;
  /** The next model's values for one chunk of the base model (F32). */
  finish(accumulator: A, kernels: VectorKernels, base: Chunk): { bytes: Uint8Array; finite: boolean };
}

export interface Chunk {
  start: number;
  length: number;
  values: EncodedValues;
}

/** Vectors are saved as f64 blobs in this order; scalars as JSON numbers (which round-trip f64 exactly). */
export interface Accumulator {
  range: Range;
  vectors: readonly Vector[];
  scalars: Record<string, number>;
}
