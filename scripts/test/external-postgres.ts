/**
 * A stage of npm test: the tests that depend on what PostgreSQL does, once more on a server that is not ours (15 or
 * newer, by TCP): FEDEDGE_TEST_DATABASE_URL's, else one that is started for the occasion from the binaries that the
 * system has. As root on Debian they are installed; without any, the stage is skipped with its reason.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const TESTS = [
  'test/store/database.test.ts',
  'test/store/journal.test.ts',
  'test/store/listener.test.ts',
  'test/store/database-clock.test.ts',
  'test/store/server-lock.test.ts',
  'test/services/rounds/rounds.test.ts',
  'test/services/rounds/contention.test.ts',
  'test/services/aggregation/folding.test.ts',
  'test/services/idempotency.test.ts',
  'test/services/sweeper.test.ts',
];
const DEBIAN = '/usr/lib/postgresql';
const OLDEST = 15;
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;

const given = process.env.FEDEDGE_TEST_DATABASE_URL;
const binaries = given ? undefined : (findBinaries() ?? installBinaries());
if (given) process.exitCode = runTests(given);
else if (binaries) await withServer(binaries, (url) => runTests(url));
else skip('no PostgreSQL 15 or newer is installed; set FEDEDGE_TEST_DATABASE_URL');

function findBinaries(): string | undefined {
  const versions = listVersions().filter((version) => version >= OLDEST);
  return versions.length > 0 ? join(DEBIAN, String(Math.min(...versions)), 'bin') : undefined;
}

function listVersions(): number[] {
  try {
    return readdirSync(DEBIAN).map(Number).filter(Number.isInteger);
  } catch {
    return [];
  }
}

function installBinaries(): string | undefined {
  if (!isRoot || spawnSync('apt-get', ['--version']).status !== 0) return undefined;
  console.log('installing the Debian package postgresql ...');
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  for (const args of [['update'], ['install', '-y', '--no-install-recommends', 'postgresql']]) {
    if (spawnSync('apt-get', ['-q', ...args], { env, stdio: 'ignore' }).status !== 0) return undefined;
  }
  return findBinaries();
}

async function withServer(binaries: string, work: (url: string) => number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'fededge-external-'));
  // PostgreSQL refuses to run as root.
  if (isRoot) chownSync(folder, NOBODY, NOBODY);
  const user = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  const data = join(folder, 'data');
  const made = spawnSync(join(binaries, 'initdb'), ['-D', data, '-U', 'fededge', '-A', 'trust', '-N'], user);
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`);
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: folder,
    fsync: 'off',
    max_connections: 300,
  };
  const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const args = ['-D', data, '-p', String(port), ...options];
  const server = spawn(join(binaries, 'postgres'), args, { ...user, stdio: 'ignore' });
  const ended = once(server, 'exit');
  try {
    await untilReady(binaries, port);
    process.exitCode = work(`postgres://fededge@127.0.0.1:${port}/postgres`);
  } finally {
    server.kill('SIGINT');
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}

async function untilReady(binaries: string, port: number): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (spawnSync(join(binaries, 'pg_isready'), ['-h', '127.0.0.1', '-p', String(port)]).status === 0) return;
    await setTimeout(100);
  }
  throw new Error('the external PostgreSQL did not become ready');
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  return port;
}

function runTests(url: string): number {
  const args = ['run', '--config', 'scripts/vitest.config.ts', ...TESTS];
  const env = { ...process.env, FEDEDGE_TEST_DATABASE_URL: url };
  return spawnSync('vitest', args, { env, stdio: 'inherit' }).status ?? 1;
}

function skip(reason: string): void {
  const file = process.env.FEDEDGE_TEST_COUNTS;
  console.log(reason);
  if (file)
    writeFileSync(
      file,
      JSON.stringify({ passed: 0, failed: 0, skipped: [`external PostgreSQL (${reason})`] }),
    );
}
