import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('../../api/server.ts', import.meta.url));
/** A server of a demo that was killed needs a moment to notice it and to leave the data folder. */
const TAKEOVER_MS = 20_000;
const TAKEOVER_STEP_MS = 500;

export interface DemoServer {
  url: string;
  operatorKey: string;
  logFile: string;
  stop(): Promise<void>;
}

/**
 * Starts the real server, embedded database and worker included, as a process of its own on the demo's data folder. It
 * ends with this process, also when this one is killed.
 */
export async function startServer(options: { dataDir: string; port: number }): Promise<DemoServer> {
  mkdirSync(options.dataDir, { recursive: true });
  const logFile = join(options.dataDir, 'server.log');
  const giveUpAt = performance.now() + TAKEOVER_MS;
  for (;;) {
    const started = await trySpawn(options, logFile);
    if ('url' in started) return started;
    if (!started.inUse || performance.now() > giveUpAt) throw new Error(started.reason);
    await setTimeout(TAKEOVER_STEP_MS);
  }
}

async function trySpawn(
  { dataDir, port }: { dataDir: string; port: number },
  logFile: string,
): Promise<DemoServer | { reason: string; inUse: boolean }> {
  const log = openSync(logFile, 'a');
  const args = [SERVER, '--json', '--data-dir', dataDir, '--port', String(port)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', log, 'ipc'], detached: true });
  closeSync(log);
  const announced = await Promise.race([readAnnouncement(child), once(child, 'exit').then(() => undefined)]);
  if (!announced) {
    const reason = lastLine(logFile);
    return { reason, inUse: /in use|holds/i.test(reason) };
  }
  const operatorKey = readFileSync(announced.operatorKeyFile, 'utf8').trim();
  return { url: announced.url, operatorKey, logFile, stop: () => stop(child) };
}

async function readAnnouncement(
  child: ChildProcess,
): Promise<{ url: string; operatorKeyFile: string } | undefined> {
  for await (const line of createInterface({ input: child.stdout! })) return JSON.parse(line);
  return undefined;
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

function lastLine(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').at(-1) ?? 'the server did not start';
}
