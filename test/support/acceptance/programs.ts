import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const root = new URL('../../../', import.meta.url).pathname;
const STOP_MS = 15_000;
/** A program that is still there when this process ends is killed; what ended is forgotten. */
const running = new Set<ChildProcess>();
const clusters = new Set<string>();
/** What the programs of this test have written, for whoever has to find out why it failed. */
const records: { name: string; written: { stdout: string; stderr: string }; over: () => boolean }[] = [];
const TAIL = 4_000;

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const data of clusters) signalPostmaster(data, 'SIGQUIT');
});

/** The end of what each program has written that ran in this test. */
export function tellPrograms(): string {
  return records
    .map(({ name, written, over }) => {
      const state = over() ? 'has ended' : 'is running';
      return `--- ${name} ${state}\n${written.stdout.slice(-TAIL)}${written.stderr.slice(-TAIL)}`;
    })
    .join('\n');
}

/** Forgets the programs that have ended. */
export function forgetPrograms(): void {
  records.splice(0, records.length, ...records.filter(({ over }) => !over()));
}

export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A program of the product, run as its users run it. */
export interface Program {
  readonly pid: number;
  /** The most memory that it has held so far, in MB. Undefined where the system does not tell. */
  peakMemory(): number | undefined;
  /** Everything that it has written so far. */
  output(stream: 'stdout' | 'stderr'): string;
  /** Resolves with the first whole line on standard output; rejects when the program ends without one. */
  firstLine(): Promise<string>;
  /** Resolves when it has ended. */
  readonly ended: Promise<Ending>;
  /** Ends it at once. */
  kill9(): Promise<void>;
  /** Asks it to end in order; who does not, is killed. */
  stop(): Promise<void>;
  /** Asks it to end in order, and waits for however long that takes. */
  terminate(): Promise<Ending>;
  /** Asks it to read again what it reads again. */
  hangUp(): void;
  /** Stops its threads where they are, until `thaw`. */
  freeze(): void;
  thaw(): void;
}

/** Starts `node ARGS` with this environment and hardly anything of ours. */
export function startProgram(args: readonly string[], env: Record<string, string>): Program {
  const { PATH, HOME, TMPDIR } = process.env;
  const inherited = Object.entries({ PATH, HOME, TMPDIR }).filter(([, value]) => value !== undefined);
  const child = spawn(process.execPath, [...args], {
    cwd: root,
    env: { ...Object.fromEntries(inherited), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const written = { stdout: '', stderr: '' };
  const name = `${args.join(' ')} (process ${child.pid})`;
  records.push({ name, written, over: () => !running.has(child) });
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      written[stream] += text;
    });
  }
  // Not `exit`: by `close` all that it wrote has arrived.
  const ended = once(child, 'close').then(([code, signal]): Ending => {
    running.delete(child);
    return { code, signal };
  });
  const send = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    return ended;
  };
  return {
    pid: child.pid!,
    peakMemory: () => readPeakMemory(child.pid!),
    output: (stream) => written[stream],
    firstLine: () => awaitLine(child, () => written, ended),
    ended,
    kill9: async () => void (await send('SIGKILL')),
    stop: async () => {
      const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
      await send('SIGTERM');
      clearTimeout(late);
    },
    terminate: () => send('SIGTERM'),
    hangUp: () => void child.kill('SIGHUP'),
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
  };
}

function readPeakMemory(pid: number): number | undefined {
  const file = `/proc/${pid}/status`;
  if (!existsSync(file)) return undefined;
  return Math.round(Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(file, 'utf8'))?.[1]) / 1024);
}

async function awaitLine(
  child: ChildProcess,
  written: () => { stdout: string; stderr: string },
  ended: Promise<unknown>,
): Promise<string> {
  let over = false;
  const end = ended.then(() => {
    over = true;
  });
  for (;;) {
    const { stdout, stderr } = written();
    const length = stdout.indexOf('\n');
    if (length >= 0) return stdout.slice(0, length);
    if (over) throw new Error(`the program ended without a line:\n${stderr.slice(-4000)}`);
    await Promise.race([once(child.stdout!, 'data'), end]);
  }
}

/** The embedded PostgreSQL of a data folder lives on when its server is killed: whoever kills remembers it. */
export function rememberCluster(dataDir: string): void {
  clusters.add(join(dataDir, 'database', 'data'));
}

/** Ends what a killed server has left running on a data folder. */
export async function stopCluster(dataDir: string): Promise<void> {
  const data = join(dataDir, 'database', 'data');
  for (let waited = 0; signalPostmaster(data, waited < STOP_MS ? 'SIGINT' : 'SIGQUIT'); waited += 20) {
    await sleep(20);
  }
  clusters.delete(data);
}

/** The process id of the PostgreSQL that serves a data folder, as it says itself. */
export async function postmasterPid(dataDir: string): Promise<number> {
  const text = await readFile(join(dataDir, 'database', 'data', 'postmaster.pid'), 'utf8');
  return Number(text.split('\n', 1)[0]);
}

/** False: no PostgreSQL of this folder runs. The folder's own file names the process, its command line confirms it. */
function signalPostmaster(data: string, signal: NodeJS.Signals): boolean {
  try {
    const pid = Number(readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n', 1)[0]);
    const commandLine = `/proc/${pid}/cmdline`;
    if (existsSync(commandLine) && !readFileSync(commandLine, 'utf8').includes(data)) return false;
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
