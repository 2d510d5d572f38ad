import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { keepRunning } from './keep-running.ts';

const SERVER = fileURLToPath(new URL('../../api/server.ts', import.meta.url));
/** A server of a demo that was killed needs a moment to notice it and to leave the data folder. */
const TAKEOVER_MS = 20_000;
const TAKEOVER_STEP_MS = 250;

export interface ServerOptions {
  dataDir: string;
  port: number;
  signal: AbortSignal;
  note: (text: string) => void;
}

export interface DemoServer {
  url: string;
  operatorKey: string;
  /** Rejects when the server cannot be kept running. */
  failure: Promise<never>;
  stop(): Promise<void>;
}

interface Started {
  child: ChildProcess;
  url: string;
  operatorKeyFile: string;
}

/**
 * Starts the real server, embedded database and worker included, as a process of its own on the demo's data folder. It
 * ends with this process, also when this one is killed; if it is killed itself, it is started again on the same port.
 */
export async function startServer(options: ServerOptions): Promise<DemoServer> {
  mkdirSync(options.dataDir, { recursive: true });
  const { child, url, operatorKeyFile } = await spawnServer(options);
  const port = Number(new URL(url).port);
  const again = async () => (await spawnServer({ ...options, port })).child;
  const { failure, stop } = keepRunning({ name: 'the server', child, again, note: options.note });
  return { url, operatorKey: readFileSync(operatorKeyFile, 'utf8').trim(), failure, stop };
}

/** Waits for a server that is about to leave the folder. */
async function spawnServer(options: ServerOptions): Promise<Started> {
  const giveUpAt = performance.now() + TAKEOVER_MS;
  for (let waiting = false; ; waiting = true) {
    const started = await trySpawn(options);
    if ('url' in started) return started;
    const inUse = /another FedEdge server/i.test(started.reason);
    if (!inUse || performance.now() > giveUpAt) throw new Error(started.reason);
    if (!waiting)
      options.note('A server still runs on this folder, perhaps of a demo just stopped: waiting ...');
    await setTimeout(TAKEOVER_STEP_MS, undefined, { signal: options.signal });
  }
}

async function trySpawn({ dataDir, port, signal }: ServerOptions): Promise<Started | { reason: string }> {
  const logFile = join(dataDir, 'server.log');
  const log = openSync(logFile, 'a');
  const logBegins = fstatSync(log).size;
  const args = [SERVER, '--json', '--data-dir', dataDir, '--port', String(port)];
  const child = spawn(process.execPath, args, {
    detached: true,
    stdio: ['ignore', 'pipe', log, 'ipc'],
    env: ownEnvironment(),
  });
  closeSync(log);
  const stop = () => child.kill('SIGTERM');
  signal.addEventListener('abort', stop, { once: true });
  const exited = once(child, 'exit');
  const announced = await Promise.race([readAnnouncement(child), exited.then(() => undefined)]);
  signal.removeEventListener('abort', stop);
  if (announced && !signal.aborted) return { ...announced, child };
  // Asked to stop twice it would leave its database behind: so only once, and then it takes its time.
  await exited;
  signal.throwIfAborted();
  return { reason: readReason(logFile, logBegins) };
}

async function readAnnouncement(
  child: ChildProcess,
): Promise<{ url: string; operatorKeyFile: string } | undefined> {
  for await (const line of createInterface({ input: child.stdout! })) return JSON.parse(line);
  return undefined;
}

/** What the server has said for people, among its log and perhaps that of another one. */
function readReason(logFile: string, from: number): string {
  const lines = readFileSync(logFile).subarray(from).toString().trimEnd().split('\n');
  const said = lines.findLast((line) => line.startsWith('fededge: '));
  if (said) return said.slice('fededge: '.length);
  const thrown = lines.findLast((line) => /^\w*Error\b/.test(line)) ?? 'the server did not start';
  return `${thrown} (more in ${logFile})`;
}

/** The demo's server is its own, whatever server the person who runs it has set up. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const isForeign = (name: string) => name === 'DATABASE_URL' || name.startsWith('FEDEDGE_');
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isForeign(name)));
}
