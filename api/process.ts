import { ConfigError } from './config.ts';
import { DataFolderInUseError, NoEmbeddedDatabaseError } from './store/local/local-database.ts';
import { SchemaAheadError } from './store/schema-ahead.ts';
import { DatabaseInUseError } from './store/server-lock.ts';

/** One Ctrl-C arrives twice where npm passes on what the terminal has sent to the whole group. */
const ECHO_MS = 1_000;
/** A shutdown that takes longer than this has failed. */
const SHUTDOWN_MS = 45_000;

/** A start that cannot be, with a message that says why and what to do. */
export class StartError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartError';
  }
}

/**
 * Runs a root until it is through. SIGINT and SIGTERM abort `stopping`, so that it ends in order and the process
 * exits with 0; a second signal exits at once. What a person can mend is told without a stack, exit code 1.
 */
export async function runProcess(main: (stopping: AbortSignal) => Promise<void>): Promise<never> {
  const stopping = new AbortController();
  let signalledAt: number | undefined;
  const onSignal = () => {
    const now = performance.now();
    if (signalledAt !== undefined && now - signalledAt > ECHO_MS) process.exit(130);
    signalledAt ??= now;
    stopping.abort();
    setTimeout(() => process.exit(1), SHUTDOWN_MS).unref();
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
