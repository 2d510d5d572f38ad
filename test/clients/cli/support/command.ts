import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { callCommand } from '../../../../clients/cli/call.ts';
import type { Host } from '../../../../clients/cli/context.ts';

const main = new URL('../../../../clients/cli/main.ts', import.meta.url).pathname;

export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
  /** The last line of standard output as JSON. */
  json(): Record<string, unknown>;
}

export interface Call {
  cwd: string;
  env?: Record<string, string>;
}

/**
 * The command without a terminal, in this process and with hardly anything of its environment. One call at a time: the
 * environment is the process's.
 */
export async function fededge(args: readonly string[], { cwd, env = {} }: Call): Promise<Result> {
  const output = { stdout: '', stderr: '' };
  const host: Host = {
    stdin: {},
    stdout: { write: (text) => (output.stdout += text) },
    stderr: { write: (text) => (output.stderr += text) },
  };
  const ours = process.env;
  process.env = createEnvironment(env);
  try {
    await callCommand(args, { env: process.env, cwd, signal: new AbortController().signal, host });
  } finally {
    process.env = ours;
  }
  return createResult(Number(host.exitCode ?? 0), output);
}

/** The same as its users call it: a process of its own. */
export function fededgeProcess(args: readonly string[], { cwd, env = {} }: Call): Promise<Result> {
  return runProcess(process.execPath, [main, ...args], { cwd, env });
}

/** The same in a terminal, by util-linux's `script`; what is typed is sent at once. */
export function fededgeInTerminal(
  args: readonly string[],
  { cwd, env = {} }: Call,
  typed: string,
): Promise<Result> {
  // A terminal that nobody looks at has no size: prompts would break after every character.
  const command = `stty columns 100 rows 40; exec ${[process.execPath, main, ...args].map((part) => `'${part}'`).join(' ')}`;
  const asked = { cwd, env: { TERM: 'xterm', ...env }, typed };
  return runProcess('script', ['--quiet', '--return', '--command', command, '/dev/null'], asked);
}

export function runProcess(
  program: string,
  args: readonly string[],
  { cwd, env = {}, typed }: Call & { typed?: string },
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: createEnvironment(env),
      stdio: [typed === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    });
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream]!.setEncoding('utf8').on('data', (text: string) => {
        output[stream] += text;
        if (typed !== undefined && stream === 'stdout') answerPrompts(text);
      });
    }
    const keys = [...(typed ?? '')];
    /** A key for each question: what is typed before a prompt listens is lost. */
    function answerPrompts(text: string): void {
      if (/\?25l/.test(text) && keys.length > 0) child.stdin!.write(keys.shift()!);
    }
    child.once('error', reject);
    child.once('close', (code) => resolve(createResult(code, output)));
  });
}

/** Compiled once for all the processes of a test file: most of a renderer's time is that of its modules. */
let compiled: string | undefined;
afterAll(() => {
  if (compiled !== undefined) rmSync(compiled, { recursive: true, force: true });
});

export function createEnvironment(more: Record<string, string> = {}): Record<string, string> {
  const { PATH = '', HOME = '/tmp' } = process.env;
  compiled ??= mkdtempSync(join(tmpdir(), 'fededge-compiled-'));
  return { PATH, HOME, NODE_COMPILE_CACHE: compiled, ...more };
}

function createResult(code: number | null, output: { stdout: string; stderr: string }): Result {
  return { code, ...output, json: () => JSON.parse(output.stdout.trimEnd().split('\n').at(-1)!) };
}
