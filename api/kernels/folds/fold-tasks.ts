import type { Accumulator, FoldStrategy } from '../../domain/strategies/strategy.ts';
import type { Vector } from '../../domain/strategies/vector.ts';
import type { Kernels } from '../kernels.ts';
import { checkSeal } from '../seals.ts';
import { encodeCheckpointHead, readCheckpointHead } from './checkpoints.ts';
import { FoldRequestError, NonFiniteError } from './fold-errors.ts';
import { type AddCommand, CHUNK_BYTES } from './fold-messages.ts';
import { createSegmentReader, placeSegments } from './segments.ts';

const F64_BYTES = 8;
const F32_BYTES = 4;

/** A fold as it lives on the thread. */
export interface Fold {
  strategy: FoldStrategy;
  accumulator: Accumulator;
}

/** A call at work on a fold. */
export interface Task {
  /** Takes the next input, if the call has one; may give an output. */
  step(bytes: Uint8Array): Uint8Array | undefined;
  /** Called after the last step: the call's answer. */
  end(): unknown;
  /** Called at last, also when the call ended early. */
  close?(): void;
}

/** Streams one update's file past its seal and into the accumulator. */
export function addTask(kernels: Kernels, fold: Fold, command: AddCommand): Task {
  const { strategy, accumulator } = fold;
  const { weight } = command;
  if (!(Number.isFinite(weight) && weight >= 0)) throw new FoldRequestError('bad_weight', `weight ${weight}`);
  const placed = placeSegments(command.segments, accumulator.range);
  if (!placed.ok) throw new FoldRequestError('bad_segments', placed.reason);
  const read = createSegmentReader(placed.segments, accumulator.range, (chunk) => {
    strategy.add(accumulator, kernels, weight, chunk);
  });
  const seal = checkSeal(command.seal);
  const head = checkBeginning(command.head);
  let bytes = 0;
  return {
    step(chunk) {
      // A chunk at a time, so that the values are still in the cache when they are folded.
      seal.push(chunk);
      head.push(chunk);
      read(chunk);
      bytes += chunk.length;
      return undefined;
    },
    end: () => ({ isIntact: seal.holds() && head.holds() && bytes === command.bytes, bytes }),
  };
}

/** Looks whether what passes begins with `expected`. */
function checkBeginning(expected: Uint8Array) {
  let rest = expected;
  let isSame = true;
  return {
    push(bytes: Uint8Array): void {
      if (rest.length === 0) return;
      const length = Math.min(rest.length, bytes.length);
      isSame &&= Buffer.compare(bytes.subarray(0, length), rest.subarray(0, length)) === 0;
      rest = rest.subarray(length);
    },
    holds: () => isSame && rest.length === 0,
  };
}

/** Gives the checkpoint's head, then its vectors; at last nothing. */
export function saveTask(kernels: Kernels, { strategy, accumulator }: Fold): Task {
  const outputs = (function* () {
    yield encodeCheckpointHead(strategy.name, accumulator);
    for (const vector of accumulator.vectors) {
      const size = CHUNK_BYTES / F64_BYTES;
      for (let offset = 0; offset < vector.length; offset += size) {
        yield kernels.save(vector, offset, Math.min(size, vector.length - offset));
      }
    }
  })();
  return { step: () => outputs.next().value ?? undefined, end: () => undefined };
}

/** Fills the accumulator from the bytes that a save gave. */
export function restoreTask(kernels: Kernels, { strategy, accumulator }: Fold): Task {
  let scalars: Record<string, number> | undefined;
  let rest = 0;
  const fill = createFiller(kernels, accumulator.vectors);

  function readHead(bytes: Uint8Array): Uint8Array {
    const head = readCheckpointHead(bytes, strategy.name, accumulator);
    if (!head.ok)
      throw new FoldRequestError('bad_checkpoint', `the checkpoint does not fit the fold: ${head.reason}`);
    scalars = head.scalars;
    rest = head.dataBytes;
    return bytes.subarray(head.headerBytes);
  }

  return {
    step(bytes) {
      const data = scalars ? bytes : readHead(bytes);
      if (data.length > rest)
        throw new FoldRequestError('bad_checkpoint', 'the checkpoint has trailing bytes');
      if (data.length % F64_BYTES !== 0)
        throw new FoldRequestError('bad_checkpoint', 'the checkpoint is cut short');
      fill(data);
      rest -= data.length;
      return undefined;
    },
    end() {
      if (!scalars || rest > 0) throw new FoldRequestError('bad_checkpoint', 'the checkpoint is cut short');
      for (const name of Object.keys(accumulator.scalars)) delete accumulator.scalars[name];
      Object.assign(accumulator.scalars, scalars);
      return undefined;
    },
  };
}

/** Writes consecutive bytes into vectors that follow each other. */
function createFiller(kernels: Kernels, vectors: readonly Vector[]): (bytes: Uint8Array) => void {
  let index = 0;
  let offset = 0;
  return (bytes) => {
    let rest = bytes;
    for (let vector = vectors[index]; vector && rest.length > 0; vector = vectors[index]) {
      const part = rest.subarray(0, (vector.length - offset) * F64_BYTES);
      kernels.load(vector, offset, part);
      offset += part.length / F64_BYTES;
      rest = rest.subarray(part.length);
      if (offset < vector.length) return;
      index += 1;
      offset = 0;
    }
  };
}

/** Turns the base model's values into the next model's, chunk by chunk. */
export function finishTask(kernels: Kernels, { strategy, accumulator }: Fold): Task {
  const { range } = accumulator;
  let position = 0;
  return {
    step(bytes) {
      const length = bytes.length / F32_BYTES;
      if (!Number.isInteger(length) || position + length > range.length) {
        throw new FoldRequestError('bad_base', `the base model's data is not ${range.length} F32 values`);
      }
      const base = { start: range.start + position, length, values: { dtype: 'F32' as const, bytes } };
      const next = strategy.finish(accumulator, kernels, base);
      if (!next.finite)
        throw new NonFiniteError(`the next model is not finite from element ${base.start} on`);
      position += length;
      return next.bytes;
    },
    end() {
      if (position < range.length) {
        throw new FoldRequestError(
          'bad_base',
          `the base model's data has ${position} of ${range.length} values`,
        );
      }
      return undefined;
    },
  };
}
