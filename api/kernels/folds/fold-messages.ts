import type { Range } from '../../domain/strategies/strategy.ts';
import type { FoldFailure } from './fold-errors.ts';
import type { Segment } from './segments.ts';

/**
 * A call to the fold thread is `open`, any number of `step` (with or without input), `end`; or `abort` at any
 * time. The thread answers each step with `stepped` in order, an `end` with `done`, and anything with one
 * `failed`, after which the call is over. `begin` and `release` are done as soon as they are open.
 */
export type ToThread =
  | { type: 'open'; call: number; fold: string; command: FoldCommand }
  | { type: 'step'; call: number; input?: FilledBuffer }
  | { type: 'end'; call: number }
  | { type: 'abort'; call: number };

/** A `stepped` brings the step's buffer back, for the next one. */
export type FromThread = Stepped | Done | { type: 'failed'; call: number; failure: FoldFailure };

export type FoldCommand =
  | { kind: 'begin'; strategy: string; parameters: unknown; range: Range }
  | { kind: 'restore' }
  | AddCommand
  | { kind: 'save' }
  | { kind: 'finish' }
  | { kind: 'release' };

/** With a path the thread reads that file, a stretch at each step; otherwise the steps bring the bytes. */
export interface AddCommand {
  kind: 'add';
  weight: number;
  segments: readonly Segment[];
  head: Uint8Array;
  seal: string;
  /** The file's length as it was sealed. */
  bytes: number;
  path?: string;
}

/** The first `length` bytes of a buffer of CHUNK_BYTES; all but a stream's last are full. */
export interface FilledBuffer {
  buffer: ArrayBuffer;
  length: number;
}

export interface Stepped {
  type: 'stepped';
  call: number;
  buffer?: ArrayBuffer | undefined;
  output?: Uint8Array | undefined;
}

export interface Done {
  type: 'done';
  call: number;
  value: unknown;
}

/** A multiple of every element's size: values that begin at a chunk's start are never cut by its end. */
export const CHUNK_BYTES = 1 << 18;
