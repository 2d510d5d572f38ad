import { spawn } from 'node:child_process';
import { Failure } from '../failure.ts';

export interface GitResult {
  code: number;
  stdout: string;
  stderr: string;
}

export interface Git {
  /** The output of a command that succeeds; else a failure with what git says. */
  run(...args: string[]): Promise<string>;
  /** Whatever becomes of it. */
  attempt(args: readonly string[], env?: Record<string, string>): Promise<GitResult>;
}

/** Git in a folder, undisturbed by settings for people: no pager, no questions, no translations. */
export function createGit(folder: string): Git {
  const attempt = (args: readonly string[], env: Record<string, string> = {}) =>
    runProgram('git', ['--no-pager', '-c', 'core.quotepath=off', ...args], folder, {
      GIT_TERMINAL_PROMPT: '0',
      LC_ALL: 'C',
      ...env,
    });
  return {
    attempt,
    async run(...args) {
      const { code, stdout, stderr } = await attempt(args);
      if (code === 0) return stdout;
      throw new Failure(`git ${args[0]} failed: ${stderr.trim() || stdout.trim() || `exit code ${code}`}`);
    },
  };
}

/** Runs a program to its end. Code 127: there is none of that name. */
export function runProgram(
  program: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<GitResult> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        output[stream] += text;
      });
    }
    child.once('error', (error) => resolve({ code: 127, stdout: '', stderr: error.message }));
    child.once('close', (code) => resolve({ code: code ?? 1, ...output }));
  });
}
