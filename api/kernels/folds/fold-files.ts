import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { Kernels } from '../kernels.ts';
import { FoldRequestError, FoldSourceError } from './fold-errors.ts';
import type { AddCommand } from './fold-messages.ts';
import { addTask, type Fold, type Task } from './fold-tasks.ts';

/** What one step reads of a file: the caller keeps its lease between two steps. */
export const STRIDE_BYTES = 4 << 20;

/**
 * Folds a file of this host, each step the next STRIDE_BYTES of it: read straight into the kernels' memory, so that the
 * bytes are copied once, out of the system's cache into the processor's, and cross no thread. Throws
 * FoldRequestError `bad_source` if the file cannot be opened.
 */
export function addFileTask(kernels: Kernels, fold: Fold, command: AddCommand, path: string): Task {
  const task = addTask(kernels, fold, command);
  const file = openFile(path);
  const { size } = fstatSync(file);
  let position = 0;
  return {
    step() {
      const end = position + STRIDE_BYTES;
      while (position < end) {
        const window = kernels.window();
        const length = Math.min(window.length, end - position);
        const bytes = readSync(file, window, 0, length, position);
        if (bytes === 0) {
          assertEnded(size, position);
          break;
        }
        task.step(window.subarray(0, bytes));
        position += bytes;
      }
      return undefined;
    },
    end: task.end,
    close: () => closeSync(file),
  };
}

/** So many steps read a file of so many bytes and look if it goes on. */
export function countStrides(bytes: number): number {
  return Math.floor(bytes / STRIDE_BYTES) + 1;
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new FoldRequestError('bad_source', (error as Error).message);
  }
}

/** A file that is shorter than it was sealed is damaged; one that changes while it is read may be whole again later. */
function assertEnded(size: number, position: number): void {
  if (size !== position) throw new FoldSourceError(`a file of ${size} bytes ended at byte ${position}`);
}
