/** Root: the command `fededge`. */
import { callCommand } from './call.ts';

const { env } = process;
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
// Whoever reads has enough (head, grep -q): nothing is left to say.
process.stdout.on('error', () => process.exit());

// npm changes to the package's folder; relative paths are meant from where it was called.
const cwd = env.npm_lifecycle_event === 'fededge' && env.INIT_CWD ? env.INIT_CWD : process.cwd();
await callCommand(process.argv.slice(2), { env, cwd, signal: interrupted.signal, host: process });
