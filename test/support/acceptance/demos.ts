import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createOperator, type Operator, type Round, type Run, type Version } from './operators.ts';
import { type Program, rememberCluster, startProgram, stopCluster } from './programs.ts';
import { waitFor, waitUntil } from './waiting.ts';

/** A demo that runs, or has run. */
export interface Demo extends Program {
  /** Talks to its server, once that is there. */
  operator(): Promise<Operator>;
  signal(name: NodeJS.Signals): void;
}

/** What is known of a run from outside. */
export interface Published {
  run: Run;
  rounds: Round[];
  versions: Version[];
}

/** A data folder for demos and servers, one after the other. */
export interface DemoFolder {
  path: string;
  startDemo(...options: string[]): Demo;
  /** What stands in the folder, served by nothing but `npm start`'s server. */
  inspect(): Promise<Published>;
  close(): Promise<void>;
}

export async function createDemoFolder(): Promise<DemoFolder> {
  const path = await mkdtemp(join(tmpdir(), 'fededge-demo-'));
  // Where we are root, the database runs as a user that has to pass.
  await chmod(path, 0o755);
  rememberCluster(path);
  const demos: Demo[] = [];
  return {
    path,
    startDemo(...options) {
      const demo = startDemo(path, options);
      demos.push(demo);
      return demo;
    },
    async inspect() {
      const server = startProgram(['api/server.ts', '--json', '--data-dir', path, '--port', '0'], {});
      const { url } = JSON.parse(await server.firstLine()) as { url: string };
      const published = await readPublished(operatorOf(path, url));
      await server.stop();
      return published;
    },
    async close() {
      await Promise.all(demos.map((demo) => demo.stop()));
      await stopCluster(path);
      await rm(path, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

function startDemo(path: string, options: string[]): Demo {
  const args = ['scripts/demo.ts', '--json', '--data-dir', path, ...options];
  // Whoever runs it may have a server of another federation set up.
  const program = startProgram(args, {
    DATABASE_URL: 'postgres://127.0.0.1:9/none',
    FEDEDGE_HOST: 'nowhere',
  });
  return {
    ...program,
    operator: async () => {
      const url = await Promise.race([
        waitFor('the demo has a server', async () => /http:\/\/[\d.:]+/.exec(program.output('stderr'))?.[0]),
        program.ended.then(() => Promise.reject(new Error(`it has ended: ${program.output('stderr')}`))),
      ]);
      return operatorOf(path, url);
    },
    signal: (name) => process.kill(program.pid, name),
  };
}

function operatorOf(path: string, url: string): Operator {
  const operatorKey = readFileSync(join(path, 'operator.key'), 'utf8').trim();
  return createOperator({ url: () => url, operatorKey });
}

/** Of the first run in the federation. */
export async function readPublished(operator: Operator): Promise<Published> {
  const run = await waitFor('there is a run', async () => (await operator.list<Run>('/v1/runs'))[0]);
  const [rounds, versions] = await Promise.all([
    operator.list<Round>(`/v1/runs/${run.id}/rounds`),
    operator.list<Version>(`/v1/models/${run.model}/versions`),
  ]);
  return { run, rounds, versions: versions.sort((a, b) => a.version - b.version) };
}

export interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** The processes that a process has started, and those that they have started, as they are now. */
export function descendantsOf(pid: number): Process[] {
  const all = listProcesses();
  const found: Process[] = [];
  for (const parents = [pid]; parents.length > 0; ) {
    const children = all.filter(({ parent }) => parent === parents[0]);
    found.push(...children);
    parents.shift();
    parents.push(...children.map((child) => child.pid));
  }
  return found;
}

/** Waits until none of the processes is there any more; a process id that came to another command counts as gone. */
export async function untilGone(processes: readonly Process[]): Promise<void> {
  await waitUntil('all of the processes have ended', () => {
    const alive = new Map(listProcesses().map(({ pid, command }) => [pid, command]));
    return processes.every(({ pid, command }) => alive.get(pid) !== command);
  });
}

function listProcesses(): Process[] {
  const table = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' });
  return table.split('\n').flatMap((line) => {
    const [, pid, parent, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? [];
    return command === undefined ? [] : [{ pid: Number(pid), parent: Number(parent), command }];
  });
}
