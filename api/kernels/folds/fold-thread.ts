/**
 * The entry of the fold thread. The process that starts the thread imports it too: what that one has compiled, the thread
 * need not compile again.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { serveFolds } from './fold-service.ts';

export const FOLD_THREAD = 'fededge-fold';

if (parentPort && workerData === FOLD_THREAD) serveFolds(parentPort);
