/** The entry of a fold thread whose reads of files fail from a byte on, while a test says so. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import { serveFolds } from '../../../api/kernels/folds/fold-service.ts';

const failsFrom = new Int32Array(workerData as SharedArrayBuffer);
type ReadAt = (file: number, into: Uint8Array, offset: number, length: number, position: number) => number;
const read: ReadAt = fs.readSync;

const readOrFail: ReadAt = (file, into, offset, length, position) => {
  const from = Atomics.load(failsFrom, 0);
  if (from < 0 || position < from) return read(file, into, offset, length, position);
  throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', errno: -5, syscall: 'read' });
};
fs.readSync = readOrFail as typeof fs.readSync;
syncBuiltinESMExports();

serveFolds(parentPort!);
