import { CommanderError } from 'commander';
import type { Surroundings } from './context.ts';
import { explain } from './explain.ts';
import { EXIT_FAILURE } from './failure.ts';
import { createProgram, exitCodeOf } from './program.ts';
import { ownVersion } from './verbs/doctor.ts';

const EXIT_INTERRUPTED = 130;

/** Does what the arguments say; whatever goes wrong is told, and becomes the host's exit code. */
export async function callCommand(args: readonly string[], surroundings: Surroundings): Promise<void> {
  const program = createProgram(surroundings, await ownVersion());
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    surroundings.host.exitCode = report(error, args, surroundings);
  }
}

/** Tells what went wrong and what to do next; the exit code. */
function report(error: unknown, args: readonly string[], { host, signal }: Surroundings): number {
  if (error instanceof CommanderError) return exitCodeOf(error);
  if (signal.aborted) return EXIT_INTERRUPTED;
  const failure = explain(error);
  const message =
    failure?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error));
  const next = failure?.next;
  host.stderr.write(`fededge: ${message}\n${next ? `  ${next}\n` : ''}`);
  if (args.includes('--json')) {
    host.stdout.write(`${JSON.stringify({ error: { message, ...(next && { next }) } })}\n`);
  }
  return failure?.exitCode ?? EXIT_FAILURE;
}
