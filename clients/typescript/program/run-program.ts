import { ProblemError } from '../http/problem-error.ts';

/** A start that cannot be, or an end that a person has to hear of: told without a stack, exit code 1. */
export class ProgramError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ProgramError';
  }
}

/**
 * Runs a program to its end. SIGINT and SIGTERM abort `stopping`, so that it ends in order and the process exits with 0; a
 * second signal, or `graceMs` without an end, exits at once.
 */
export async function runProgram(
  main: (stopping: AbortSignal) => Promise<void>,
  { graceMs }: { graceMs: number },
): Promise<never> {
  const stopping = new AbortController();
  const onSignal = () => {
    if (stopping.signal.aborted) process.exit(130);
    stopping.abort();
    setTimeout(() => process.exit(1), graceMs).unref();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    await main(stopping.signal);
  } catch (error) {
    process.exitCode = 1;
    const isPlain = error instanceof ProgramError || error instanceof ProblemError;
    console.error(isPlain ? `fededge: ${error.message}` : error);
  }
  process.exit();
}
