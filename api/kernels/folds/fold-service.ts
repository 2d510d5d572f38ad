import type { MessagePort } from 'node:worker_threads';
import { findStrategy } from '../../domain/strategies/index.ts';
import type { Accumulator, FoldStrategy, Range } from '../../domain/strategies/strategy.ts';
import type { Vector } from '../../domain/strategies/vector.ts';
import { createKernels, type Kernels } from '../kernels.ts';
import { FoldLostError, FoldRequestError, packFailure } from './fold-errors.ts';
import { addFileTask } from './fold-files.ts';
import type { FilledBuffer, FoldCommand, FromThread, ToThread } from './fold-messages.ts';
import { addTask, type Fold, finishTask, restoreTask, saveTask, type Task } from './fold-tasks.ts';

interface Running {
  id: string;
  task: Task;
  /** A call that changes the accumulator leaves it useless when it ends early. */
  spoils: boolean;
}

/** What the thread has. */
interface Thread {
  port: MessagePort;
  kernels: Kernels;
  folds: Map<string, Fold>;
  running: Map<number, Running>;
}

/** Owns the accumulators and computes, for whoever asks through the port; folds.ts is that side. */
export function serveFolds(port: MessagePort): void {
  const thread: Thread = { port, kernels: createKernels(), folds: new Map(), running: new Map() };
  port.on('message', (message: ToThread) => {
    const { call } = message;
    try {
      if (message.type === 'open') open(thread, call, message.fold, message.command);
      else if (message.type === 'step') step(thread, call, message.input);
      else if (message.type === 'end') end(thread, call);
      else stop(thread, call);
    } catch (error) {
      stop(thread, call);
      send(thread, { type: 'failed', call, failure: packFailure(error) });
    }
  });
}

function send({ port }: Thread, message: FromThread, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

function open(thread: Thread, call: number, id: string, command: FoldCommand): void {
  const { folds, kernels, running } = thread;
  if (command.kind === 'begin') begin(thread, id, command);
  else if (command.kind === 'release') release(thread, id);
  else {
    const fold = folds.get(id);
    if (!fold) throw new FoldLostError(`fold ${id} does not live on this thread`);
    if (callOn(thread, id) !== undefined)
      throw new FoldRequestError('fold_busy', `fold ${id} has a call under way`);
    const spoils = command.kind === 'add' || command.kind === 'restore';
    running.set(call, { id, task: createTask(kernels, fold, command), spoils });
    return;
  }
  send(thread, { type: 'done', call, value: undefined });
}

type TaskCommand = Exclude<FoldCommand, { kind: 'begin' | 'release' }>;

function createTask(kernels: Kernels, fold: Fold, command: TaskCommand): Task {
  switch (command.kind) {
    case 'add':
      return command.path === undefined
        ? addTask(kernels, fold, command)
        : addFileTask(kernels, fold, command, command.path);
    case 'restore':
      return restoreTask(kernels, fold);
    case 'save':
      return saveTask(kernels, fold);
    case 'finish':
      return finishTask(kernels, fold);
  }
}

function begin(
  { kernels, folds }: Thread,
  id: string,
  command: Extract<FoldCommand, { kind: 'begin' }>,
): void {
  if (folds.has(id)) throw new FoldRequestError('fold_exists', `fold ${id} has begun`);
  const { range, parameters: given } = command;
  const strategy = findStrategy(command.strategy);
  if (!strategy) throw new FoldRequestError('unknown_strategy', `there is no strategy ${command.strategy}`);
  if (![range.start, range.length].every((part) => Number.isSafeInteger(part) && part >= 0)) {
    throw new FoldRequestError('bad_range', `elements from ${range.start}, ${range.length} of them`);
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new FoldRequestError('bad_parameters', 'the parameters are not an object');
  }
  const parsed = strategy.parse(given as Record<string, unknown>);
  if (!parsed.ok) throw new FoldRequestError('bad_parameters', parsed.reason);
  folds.set(id, { strategy, accumulator: beginAccumulator(kernels, strategy, parsed.parameters, range) });
}

/** Leaves no vector behind where memory suffices for some of a strategy's vectors but not for all. */
function beginAccumulator(
  kernels: Kernels,
  strategy: FoldStrategy,
  parameters: unknown,
  range: Range,
): Accumulator {
  const taken: Vector[] = [];
  const zeros = (length: number) => {
    const vector = kernels.zeros(length);
    taken.push(vector);
    return vector;
  };
  try {
    return strategy.begin(parameters, { ...kernels, zeros }, range);
  } catch (error) {
    for (const vector of taken) kernels.release(vector);
    if (!(error instanceof RangeError)) throw error;
    throw new FoldRequestError('out_of_memory', error.message);
  }
}

function step(thread: Thread, call: number, input: FilledBuffer | undefined): void {
  const current = thread.running.get(call);
  // After a failure, steps that were already on their way are dropped.
  if (!current) return;
  const output = current.task.step(input ? new Uint8Array(input.buffer, 0, input.length) : new Uint8Array());
  const owned = output && owningItsBuffer(output);
  const transfer = [input?.buffer, owned?.buffer].filter((buffer) => buffer !== undefined);
  send(thread, { type: 'stepped', call, buffer: input?.buffer, output: owned }, transfer);
}

function owningItsBuffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = bytes.buffer instanceof ArrayBuffer && bytes.length === bytes.buffer.byteLength;
  return whole ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes);
}

function end(thread: Thread, call: number): void {
  const current = thread.running.get(call);
  if (!current) return;
  const value = current.task.end();
  finish(thread, call);
  send(thread, { type: 'done', call, value });
}

/** Ends a call early. */
function stop(thread: Thread, call: number): void {
  const current = finish(thread, call);
  if (current?.spoils) drop(thread, current.id);
}

/** The call is over. */
function finish({ running }: Thread, call: number): Running | undefined {
  const current = running.get(call);
  running.delete(call);
  current?.task.close?.();
  return current;
}

function release(thread: Thread, id: string): void {
  const call = callOn(thread, id);
  if (call !== undefined) {
    finish(thread, call);
    const failure = packFailure(new FoldLostError(`fold ${id} was released`));
    send(thread, { type: 'failed', call, failure });
  }
  drop(thread, id);
}

function callOn({ running }: Thread, id: string): number | undefined {
  for (const [call, current] of running) if (current.id === id) return call;
  return undefined;
}

function drop({ folds, kernels }: Thread, id: string): void {
  for (const vector of folds.get(id)?.accumulator.vectors ?? []) kernels.release(vector);
  folds.delete(id);
}
