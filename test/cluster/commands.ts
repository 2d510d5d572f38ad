import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

export interface CommandOptions {
  cwd?: string;
  /** On top of this process' own. */
  env?: Record<string, string>;
  input?: string;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
  /** Hears each line of its output while it runs. */
  onLine?: (line: string) => void;
}

/** A command that failed; the message ends with what it said. */
export class CommandError extends Error {
  readonly output: string;

  constructor(what: string, output: string) {
    const tail = output.trim().split('\n').slice(-12).join('\n');
    super(`${what}${tail && `:\n${tail}`}`);
    this.name = 'CommandError';
    this.output = output;
  }
}

/** Runs a command to its end and resolves to what it wrote to its standard output. Rejects with CommandError. */
export async function run(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { cwd, env, input, timeoutMs = 600_000, onLine } = options;
  const limit = AbortSignal.timeout(timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, signal });
  let [stdout, all] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    all += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    all += text;
  });
  if (onLine) for (const stream of [child.stdout, child.stderr]) forEachLine(stream, onLine);
  child.stdin.on('error', () => undefined).end(input);
  const name = [command.split('/').at(-1), ...args.slice(0, 4)].join(' ');
  try {
    const [code, killedBy] = (await once(child, 'close')) as [number | null, string | null];
    if (code === 0) return stdout;
    throw new CommandError(`${name} ended with ${code ?? killedBy}`, all);
  } catch (error) {
    if (error instanceof CommandError) throw error;
    options.signal?.throwIfAborted();
    const reason = limit.aborted ? `took more than ${timeoutMs / 1000} s` : (error as Error).message;
    throw new CommandError(`${name}: ${reason}`, all);
  }
}

function forEachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}

/** Ends a process that this one started, at first politely. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5_000);
  await closed;
  clearTimeout(timer);
}
