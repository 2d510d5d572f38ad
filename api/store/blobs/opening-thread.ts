/**
 * The entry of the thread that opens and closes files. The process that starts the thread imports it too: what that one has
 * compiled, the thread need not compile again.
 */
import { closeSync, constants, fsyncSync, openSync, unlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { attempt } from './file-outages.ts';
import { takeSpareFiles } from './spare-files.ts';

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
  try {
    const taker = spares === undefined ? undefined : takeSpareFiles(spares);
    for (const path of paths) descriptors.push(taker?.take(path, flags) ?? openSync(path, flags | NEW));
    syncFolder(dirname(paths[0]!));
    // Else a crash might bring back the names that the files had as spare ones, to be taken once more.
    if (taker?.hasTaken()) syncFolder(spares!);
    return { descriptors };
  } catch (error) {
    // A file that stays is swept with the row that has announced its key.
    descriptors.forEach((descriptor, index) => {
      attempt(() => closeSync(descriptor));
      attempt(() => unlinkSync(paths[index]!));
    });
    const { message, code, syscall } = error as NodeJS.ErrnoException;
    return { fault: { message, code, syscall } };
  }
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
