/** Root: the command `fededge`. */
import { CommanderError } from 'commander';
import { explain } from './explain.ts';
import { EXIT_FAILURE } from './failure.ts';
import { createProgram, exitCodeOf } from './program.ts';
import { ownVersion } from './verbs/doctor.ts';

const EXIT_INTERRUPTED = 130;

const { env } = process;
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
// Whoever reads has enough (head, grep -q): nothing is left to say.
process.stdout.on('error', () => process.exit());

// npm changes to the package's folder; relative paths are meant from where it was called.
const cwd = env.npm_lifecycle_event === 'fededge' && env.INIT_CWD ? env.INIT_CWD : process.cwd();
const program = createProgram({ env, cwd, signal: interrupted.signal }, await ownVersion());

try {
  await program.parseAsync(process.argv);
} catch (error) {
  process.exitCode = report(error);
}

/** Tells what went wrong and what to do next; the exit code. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return exitCodeOf(error);
  if (interrupted.signal.aborted) return EXIT_INTERRUPTED;
  const failure = explain(error);
  const message =
    failure?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error));
  const next = failure?.next;
  process.stderr.write(`fededge: ${message}\n${next ? `  ${next}\n` : ''}`);
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ error: { message, ...(next && { next }) } })}\n`);
  }
  return failure?.exitCode ?? EXIT_FAILURE;
}
