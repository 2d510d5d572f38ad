/**
 * The entry of the thread that opens and closes files. The process that starts the thread imports it too: what that one has
 * compiled, the thread need not compile again.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  renameSync,
  unlinkSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';

export const OPENING_THREAD = 'fededge-open';

export interface ToOpener {
  /** To be closed. */
  close: readonly number[];
  /** To be made, in one folder, of what is in the folder `spares` if there is any; `reply` gets an `Opened`. */
  open?: { paths: readonly string[]; flags: number; spares?: string | undefined; reply: MessagePort };
}

/** The descriptors in the order of the paths; or what an errno exception tells, and nothing is open, or there, of them. */
export type Opened = { descriptors: number[] } | { fault: Fault };

interface Fault {
  message: string;
  code: string | undefined;
  syscall: string | undefined;
}

const NEW = constants.O_CREAT | constants.O_EXCL;

if (parentPort && workerData === OPENING_THREAD) parentPort.on('message', serve);

function serve({ close, open }: ToOpener): void {
  for (const descriptor of close) attempt(() => closeSync(descriptor));
  if (!open) return;
  open.reply.postMessage(openAll(open));
  open.reply.close();
}

function openAll({ paths, flags, spares }: NonNullable<ToOpener['open']>): Opened {
  const descriptors: number[] = [];
  const names = (spares !== undefined && attempt(() => readdirSync(spares))) || [];
  try {
    for (const path of paths) {
      const taken = names.length > 0 ? takeSpare(spares!, names, { path, flags }) : undefined;
      descriptors.push(taken ?? openSync(path, flags | NEW));
    }
    syncFolder(dirname(paths[0]!));
    // Else a crash might bring back the names that the files had as spare ones, to be taken once more.
    if (spares !== undefined && existsSync(spares)) syncFolder(spares);
    return { descriptors };
  } catch (error) {
    descriptors.forEach((descriptor, index) => {
      attempt(() => closeSync(descriptor));
      attempt(() => unlinkSync(paths[index]!));
    });
    const { message, code, syscall } = error as NodeJS.ErrnoException;
    return { fault: { message, code, syscall } };
  }
}

/** One of the spare files `names` as the file at `path`. Processes may race for them: whoever renames one has it. */
function takeSpare(
  folder: string,
  names: string[],
  { path, flags }: { path: string; flags: number },
): number | undefined {
  // To be refused as a new one. Keys are unique, so the gap between look and rename harms nobody.
  if (existsSync(path)) return undefined;
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    const spare = join(folder, name);
    const descriptor = attempt(() => {
      renameSync(spare, path);
      return reopen(path, flags);
    });
    if (descriptor !== undefined) return descriptor;
  }
  return undefined;
}

/** Undefined: it has another name, too, or cannot be opened. Then it is not there any more. */
function reopen(path: string, flags: number): number | undefined {
  const descriptor = attempt(() => openSync(path, flags));
  if (descriptor !== undefined) {
    const { nlink, size } = fstatSync(descriptor);
    // After a crash it may not be empty.
    if (nlink === 1 && size > 0) ftruncateSync(descriptor);
    if (nlink === 1) return descriptor;
    closeSync(descriptor);
  }
  unlinkSync(path);
  return undefined;
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** Nothing depends on it: a file that stays is swept with the row that has announced its key. */
function attempt<T>(step: () => T): T | undefined {
  try {
    return step();
  } catch {
    return undefined;
  }
}
