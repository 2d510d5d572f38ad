import { spawn } from 'node:child_process';

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

/** The command as its users call it: a process of its own, without a terminal, with hardly anything of ours. */
export function fededge(args: readonly string[], { cwd, env = {} }: Call): Promise<Result> {
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
  const { PATH = '', HOME = '/tmp' } = process.env;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { PATH, HOME, ...env },
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
    child.once('close', (code) =>
      resolve({ code, ...output, json: () => JSON.parse(output.stdout.trimEnd().split('\n').at(-1)!) }),
    );
  });
}
