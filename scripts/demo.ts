/**
 * `npm run demo`: a federation on this machine, with real parts. The server is a process with its own database, each
 * device is a process with its own data, and they meet over HTTP alone.
 */
import { enableCompileCache } from 'node:module';
import { constants } from 'node:os';
import { join } from 'node:path';
import { readOptions } from './demo/options.ts';

/** One Ctrl-C arrives twice where npm passes on what the terminal has sent to all. */
const ECHO_MS = 1_000;

const options = readOptions(process.argv);
const stopping = new AbortController();
let stopped: { code: number; at: number } | undefined;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop(signal));

const compileCache = join(options.dataDir, 'compile-cache');
enableCompileCache(compileCache);
try {
  const { runDemo } = await import('./demo/run.ts');
  await runDemo({ ...options, compileCache }, stopping.signal);
} catch (error) {
  if (!stopped) console.error(`demo: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
if (stopped) {
  console.error('Stopped. The same command goes on where it was.');
  console.error(`Its server alone: npm start -- --data-dir ${options.dataDir}`);
  process.exitCode = stopped.code;
}
process.exit();

/** The second time at once: what we have started notices that we are gone, and ends by itself. */
function stop(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP'): void {
  const code = 128 + constants.signals[signal];
  if (stopped && performance.now() - stopped.at > ECHO_MS) process.exit(code);
  if (stopped) return;
  stopped = { code, at: performance.now() };
  console.error('\nStopping ...');
  stopping.abort();
}
