import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readStartLine } from './start-lines.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const PATIENCE_MS = 20_000;
const START_ENVIRONMENT = readStartLine('start').env;

/** A process of the benchmark. It ends with us: the channel that we hold to it closes. */
export interface Program {
  pid: number;
  child: ChildProcess;
  /** The first line that it prints. */
  firstLine(): Promise<string>;
  stop(): Promise<void>;
}

export interface ProgramOptions {
  env?: Record<string, string>;
  /** Gets what it writes to standard error. */
  logFile: string;
  /** More connections than the usual limit of open files allows. */
  openFiles?: number | undefined;
}

/**
 * Starts `node ARGS` with this environment and hardly anything of ours: peers too have the threads and the arenas that
 * `npm start` gives FedEdge.
 */
export function startNode(args: readonly string[], given: ProgramOptions): Program {
  const options = { ...given, env: { ...START_ENVIRONMENT, ...given.env } };
  const { openFiles } = options;
  if (openFiles === undefined) return startProgram([process.execPath, ...args], options);
  // The hard limit may be lower than what was asked for, and still be enough.
  const raise = `ulimit -n ${openFiles} 2>/dev/null || ulimit -n "$(ulimit -H -n)"; exec "$0" "$@"`;
  return startProgram(['sh', '-c', raise, process.execPath, ...args], options);
}

export function startProgram([command, ...args]: readonly string[], options: ProgramOptions): Program {
  const { PATH, HOME, TMPDIR } = process.env;
  const inherited = Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined);
  const log = openSync(options.logFile, 'a');
  const child = spawn(command!, args, {
    cwd: root,
    env: { ...Object.fromEntries(inherited), ...options.env },
    stdio: ['ignore', 'pipe', log, 'ipc'],
  });
  closeSync(log);
  const exited = once(child, 'exit');
  exited.catch(() => undefined);
  return {
    pid: child.pid ?? 0,
    child,
    async firstLine() {
      for await (const line of createInterface({ input: child.stdout! })) {
        child.stdout!.resume();
        return line;
      }
      throw new Error(`${args.join(' ')} ended:\n${readFileSync(options.logFile, 'utf8').slice(-2000)}`);
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      child.kill('SIGTERM');
      const late = new AbortController();
      const kill = () => child.kill('SIGKILL');
      setTimeout(PATIENCE_MS, undefined, { signal: late.signal }).then(kill, () => undefined);
      await exited;
      late.abort();
    },
  };
}
