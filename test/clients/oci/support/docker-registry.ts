import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS = 60_000;
/** Test files run side by side: the second waits until the first has installed. */
const INSTALL = ['-q', '-o', 'DPkg::Lock::Timeout=120', 'install', '-y', 'docker-registry'];
const INSTALL_MS = 180_000;

export interface DockerRegistry {
  /** As `127.0.0.1:41234`. */
  host: string;
  close(): Promise<void>;
}

/**
 * The registry's program: Debian's `docker-registry`, installed where we are root and it is missing. A text that says
 * why there is none.
 */
export function findDockerRegistry(): { program: string } | { missing: string } {
  const found = locate();
  if (found) return { program: found };
  if (process.getuid?.() !== 0 || spawnSync('apt-get', ['--version']).status !== 0) {
    return { missing: 'docker-registry is not installed (Debian: apt-get install docker-registry)' };
  }
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  spawnSync('apt-get', INSTALL, { env, stdio: 'ignore', timeout: INSTALL_MS });
  const installed = locate();
  return installed ? { program: installed } : { missing: 'apt-get could not install docker-registry' };
}

function locate(): string | undefined {
  const { status, stdout } = spawnSync('which', ['docker-registry'], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/** Starts it on loopback with a folder of its own. `auth` is the lines of the configuration's `auth` section. */
export async function startDockerRegistry(
  program: string,
  auth: Record<string, string> & { kind: 'none' | 'htpasswd' | 'token' },
): Promise<DockerRegistry> {
  const folder = mkdtempSync(join(tmpdir(), 'fededge-registry-'));
  writeFileSync(join(folder, 'config.yml'), configuration(folder, auth));
  const child = spawn(program, ['serve', join(folder, 'config.yml')], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const close = async () => {
    child.kill('SIGTERM');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    return { host: await readAddress(child), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function configuration(folder: string, { kind, ...settings }: Record<string, string>): string {
  const lines = [
    'version: 0.1',
    'log: {level: info}',
    `storage: {filesystem: {rootdirectory: ${folder}/data}}`,
    'http: {addr: "127.0.0.1:0"}',
  ];
  if (kind !== 'none') lines.push(`auth: {${kind}: ${JSON.stringify(settings)}}`);
  return `${lines.join('\n')}\n`;
}

/** It logs where it listens. */
function readAddress(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let log = '';
    const timer = setTimeout(() => reject(new Error(`the registry does not start:\n${log}`)), START_MS);
    child.once('close', () => reject(new Error(`the registry ended:\n${log}`)));
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (chunk) => {
        log += chunk;
        const [, host] = /listening on (127\.0\.0\.1:\d+)/.exec(log) ?? [];
        if (host === undefined) return;
        clearTimeout(timer);
        resolve(host);
      });
    }
  });
}
