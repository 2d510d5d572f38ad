import { flushCompileCache } from 'node:module';
import { Worker } from 'node:worker_threads';
import type { Range } from '../../domain/strategies/strategy.ts';
import { type Call, createFoldChannel } from './fold-channel.ts';
import { type BufferPool, createBufferPool, gatherChunks } from './fold-chunks.ts';
import { FoldRequestError } from './fold-errors.ts';
import { countStrides } from './fold-files.ts';
import type { AddCommand, FilledBuffer, FoldCommand, Stepped } from './fold-messages.ts';
import { FOLD_THREAD } from './fold-thread.ts';
import type { Segment } from './segments.ts';

export type { Segment };

/** Inputs of a call that the thread has not answered yet: 1 MiB, and for finish() as much of outputs. */
const MAX_IN_FLIGHT = 4;

/**
 * A worker thread that folds updates, so that the main thread's event loop stays free. Several folds live
 * there at once and their calls interleave chunk by chunk; a fold takes one call at a time (`fold_busy`).
 *
 * A fold's memory is its strategy's f64 vectors, O(model). They lie in the thread's WebAssembly memory of at
 * most 4 GiB, which never shrinks: what a released fold held is used by the next.
 *
 * Every call may throw FoldThreadError (the thread died: all its folds are gone, the next begin() starts a
 * new one) and, but for begin() and release(), FoldLostError (begin the fold again, restore it from its
 * checkpoint).
 */
export interface FoldThread {
  /**
   * Starts a fold under an id. Throws FoldRequestError: `unknown_strategy`, `bad_parameters`, `bad_range`,
   * `fold_exists`, `out_of_memory`.
   */
  begin(fold: string, options: { strategy: string; parameters: unknown; range: Range }): Promise<void>;
  /**
   * Fills a fresh fold from a checkpoint (the bytes that save() gave). Throws FoldRequestError
   * `bad_checkpoint`; the fold is then lost.
   */
  restore(fold: string, chunks: AsyncIterable<Uint8Array>): Promise<void>;
  /**
   * Streams one update's file past its seal and into the accumulator. Returns if it is the file that was sealed, and
   * the count of its bytes. If it is not (it is corrupt, truncated, another, or begins otherwise than its segments were
   * told by) the accumulator is spoiled, and the fold
   * must be released and begun again.
   *
   * Segments may stand in any order; they must cover the fold's range exactly once. Throws FoldRequestError
   * `bad_segments` or `bad_weight` before anything is folded. If `source` or `keep` throws, the fold is lost, as it is
   * by a FoldSourceError.
   */
  add(fold: string, update: FoldUpdate): Promise<AddedFile>;
  /**
   * The accumulator as one self-describing blob (a tensor file: scalars + f64 vectors) for a checkpoint. A chunk is
   * valid until the next one is asked for.
   */
  save(fold: string): AsyncIterable<Uint8Array>;
  /**
   * The next model's data (F32, flattened order), chunk by chunk from the base model's data over the fold's
   * range; each is valid until the next one is asked for. Throws NonFiniteError, or FoldRequestError `bad_base`,
   * possibly after some chunks: they count only once the iteration has ended. The fold is unchanged and may be
   * finished again.
   */
  finish(fold: string, base: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
  /** Gives a fold's memory to the next one. A call that is under way on it fails; an unknown fold is fine. */
  release(fold: string): Promise<void>;
  /** Ends the thread. Calls that are under way fail with FoldThreadError, as does every later begin(). */
  close(): Promise<void>;
}

interface FoldUpdate {
  /** Finite, >= 0; what the strategy's `weigh` gave. */
  weight: number;
  segments: readonly Segment[];
  /** How the file begins, as far as the segments were told by it: the sealed file has to begin so, too. */
  head: Uint8Array;
  /** What api/kernels/seals.ts gave for the file. */
  seal: string;
  /** The file's length, as it was sealed. */
  bytes: number;
  /**
   * The whole file. A chunk is copied before the next one is asked for. None is asked for if the thread can read the
   * file at `path` itself.
   */
  source: AsyncIterable<Uint8Array> & { readonly path?: string | undefined };
  /** Called between stretches of a few megabytes at most. */
  keep?: Keep;
}

type Keep = () => Promise<void>;

export interface AddedFile {
  /** Its length is right and its seal holds. */
  isIntact: boolean;
  bytes: number;
}

/** The thread starts with the first begin(). */
export function createFoldThread(startWorker: () => Worker = startFoldWorker): FoldThread {
  const channel = createFoldChannel(startWorker);
  const pool = createBufferPool();

  async function ask(fold: string, command: FoldCommand): Promise<void> {
    await channel.call(fold, command).reply();
  }

  async function feed(
    fold: string,
    command: FoldCommand,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<unknown> {
    const call = channel.call(fold, command);
    const answer = await exchange(call, gatherChunks(chunks, pool), pool).next();
    return answer.value;
  }

  /** Undefined: the thread cannot open the file, the fold is as it was. */
  async function addFile(fold: string, command: AddCommand, keep: Keep): Promise<AddedFile | undefined> {
    try {
      const steps = countStrides(command.bytes);
      return (await stepThrough(channel.call(fold, command), steps, keep)) as AddedFile;
    } catch (error) {
      if (error instanceof FoldRequestError && error.fault === 'bad_source') return undefined;
      throw error;
    }
  }

  return {
    async begin(fold, options) {
      channel.start();
      await ask(fold, { kind: 'begin', ...options });
    },
    async restore(fold, chunks) {
      await feed(fold, { kind: 'restore' }, chunks);
    },
    async add(fold, { weight, segments, head, seal, bytes, source, keep = async () => {} }) {
      // A copy: with a part of a buffer, the whole of it would go to the thread.
      const command = { kind: 'add', weight, segments, head: Uint8Array.from(head), seal, bytes } as const;
      const { path } = source;
      const there = path === undefined ? undefined : await addFile(fold, { ...command, path }, keep);
      return there ?? ((await feed(fold, command, keeping(source, keep))) as AddedFile);
    },
    async *save(fold) {
      yield* outputsOf(channel.call(fold, { kind: 'save' }));
    },
    async *finish(fold, base) {
      yield* exchange(channel.call(fold, { kind: 'finish' }), gatherChunks(base, pool), pool);
    },
    async release(fold) {
      if (channel.running()) await ask(fold, { kind: 'release' });
    },
    close: () => channel.close(),
  };
}

function startFoldWorker(): Worker {
  // What this process has compiled, the thread then finds on the disk: without, it would need 30 MB to do it again.
  flushCompileCache();
  return new Worker(new URL('./fold-thread.ts', import.meta.url), {
    name: FOLD_THREAD,
    workerData: FOLD_THREAD,
  });
}

async function* keeping(chunks: AsyncIterable<Uint8Array>, keep: Keep): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    await keep();
    yield chunk;
  }
}

/** Asks for so many steps, one ahead of the answers; returns the call's answer. */
async function stepThrough(call: Call, steps: number, keep: Keep): Promise<unknown> {
  try {
    for (let sent = 0; sent < steps; sent += 1) {
      call.step();
      if (sent === 0) continue;
      await call.reply();
      await keep();
    }
    call.end();
    for (;;) {
      const reply = await call.reply();
      if (reply.type === 'done') return reply.value;
    }
  } finally {
    call.abort();
  }
}

/**
 * Sends the inputs, a few ahead of their answers, and gives the outputs in order; returns the call's answer.
 */
async function* exchange(
  call: Call,
  inputs: AsyncIterable<FilledBuffer>,
  pool: BufferPool,
): AsyncGenerator<Uint8Array, unknown> {
  let inFlight = 0;
  try {
    for await (const input of inputs) {
      if (inFlight === MAX_IN_FLIGHT) {
        const reply = await call.reply();
        inFlight -= 1;
        if (reply.type === 'stepped') yield* takeOutput(reply, pool);
      }
      call.step(input);
      inFlight += 1;
    }
    call.end();
    for (;;) {
      const reply = await call.reply();
      if (reply.type === 'done') return reply.value;
      yield* takeOutput(reply, pool);
    }
  } finally {
    call.abort();
  }
}

function* takeOutput({ buffer, output }: Stepped, pool: BufferPool): Generator<Uint8Array> {
  if (buffer) pool.give(buffer);
  if (output) yield* lend(output);
}

/** Gives a chunk whose memory is freed when the next one is asked for, and not left to the garbage collector. */
function* lend(output: Uint8Array): Generator<Uint8Array> {
  yield output;
  (output.buffer as ArrayBuffer).transfer(0);
}

/** Asks for outputs until there are no more. */
async function* outputsOf(call: Call): AsyncGenerator<Uint8Array, void> {
  try {
    for (;;) {
      call.step();
      const reply = await call.reply();
      if (reply.type === 'done' || !reply.output) break;
      yield* lend(reply.output);
    }
    call.end();
    await call.reply();
  } finally {
    call.abort();
  }
}
