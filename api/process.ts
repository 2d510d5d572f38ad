import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigError } from './config.ts';
import { DataFolderInUseError, NoEmbeddedDatabaseError } from './store/local/local-database.ts';
import { SchemaAheadError } from './store/schema-ahead.ts';
import { DatabaseInUseError } from './store/server-lock.ts';

/** One Ctrl-C arrives twice where npm passes on what the terminal has sent to the whole group. */
const ECHO_MS = 1_000;
/** Requests and work that are under way at a shutdown have so long to end. */
export const DRAIN_MS = 10_000;
/** Cut requests have let go of their work by then. */
const CUT_MS = 1_000;
/**
 * A shutdown that takes longer than this has failed: what follows the drain, the database's own end above all, has the
 * rest. Whoever waits for the process is promised 20 s.
 */
const SHUTDOWN_MS = 18_000;

/** A start that cannot be, with a message that says why and what to do. */
export class StartError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartError';
  }
}

/**
 * Runs a root until it is through. SIGINT and SIGTERM abort `stopping`, so that it ends in order and the process
 * exits with 0, or with 1 if it could not; within 20 s in either case. A second signal exits at once. What a person can
 * mend is told without a stack, exit code 1.
 */
export async function runProcess(main: (stopping: AbortSignal) => Promise<void>): Promise<never> {
  const stopping = new AbortController();
  let signalledAt: number | undefined;
  const onSignal = () => {
    const now = performance.now();
    if (signalledAt !== undefined && now - signalledAt > ECHO_MS) process.exit(130);
    signalledAt ??= now;
    stopping.abort();
    setTimeout(giveUp, SHUTDOWN_MS).unref();
  };
  // A parent that holds an IPC channel to us has died: its server must not outlive it.
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal).once('disconnect', onSignal);
  try {
    await main(stopping.signal);
  } catch (error) {
    process.exitCode = 1;
    if (stopping.signal.aborted) console.error('fededge: stopped before it was through');
    else console.error(isPlain(error) ? `fededge: ${error.message}` : error);
  }
  process.exit();
}

/** Nothing acknowledged is lost: leases run out, and PostgreSQL, which was told to end, ends or recovers without us. */
function giveUp(): never {
  console.error(`fededge: the shutdown took longer than ${SHUTDOWN_MS / 1000} s and was given up`);
  process.exit(1);
}

function isPlain(error: unknown): error is Error {
  const plain = [
    ConfigError,
    StartError,
    DatabaseInUseError,
    DataFolderInUseError,
    NoEmbeddedDatabaseError,
    SchemaAheadError,
  ];
  return plain.some((kind) => error instanceof kind);
}

/** Resolves when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** The end of work that was told to stop. Rejects if that takes longer than a shutdown has for it. */
export async function untilDrained(work: readonly Promise<unknown>[]): Promise<void> {
  const late = sleep(DRAIN_MS + CUT_MS, undefined, { ref: false }).then(() => {
    throw new Error('what was under way did not end');
  });
  await Promise.race([Promise.all(work), late]);
}
