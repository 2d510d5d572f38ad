import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const scripts = fileURLToPath(new URL('../../scripts', import.meta.url));
let folder: string;

/** A project of two packages in folders of its own, so that npm needs no network. */
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-setup-'));
  await mkdir(join(folder, 'scripts'));
  for (const name of ['setup.mjs', 'patches.mjs'])
    await cp(join(scripts, name), join(folder, 'scripts', name));
  await declare({ needed: '1.0.0', tool: '1.0.0' });
});

afterEach(() => rm(folder, { recursive: true, force: true }));

function writeJson(name: string, value: unknown): Promise<void> {
  return writeFile(join(folder, name), JSON.stringify(value));
}

/** Packs these versions and locks them. */
async function declare(versions: { needed: string; tool: string }): Promise<void> {
  const files = Object.entries(versions).map(
    ([name, version]) => [name, `file:${name}-${version}.tgz`] as const,
  );
  for (const [name, version] of Object.entries(versions)) {
    await mkdir(join(folder, 'source', 'package'), { recursive: true });
    await writeJson(join('source', 'package', 'package.json'), { name, version });
    run('tar', ['-czf', join(folder, `${name}-${version}.tgz`), '-C', join(folder, 'source'), 'package']);
  }
  const [needed, tool] = files.map((file) => Object.fromEntries([file]));
  await writeJson('package.json', {
    name: 'project',
    version: '1.0.0',
    dependencies: needed,
    devDependencies: tool,
  });
  // Beside the project: npm would note the new versions as installed, too.
  const beside = join(folder, 'source');
  await cp(join(folder, 'package.json'), join(beside, 'package.json'));
  for (const [name, version] of Object.entries(versions)) {
    await cp(join(folder, `${name}-${version}.tgz`), join(beside, `${name}-${version}.tgz`));
  }
  const options = ['--prefix', beside, '--cache', join(folder, 'cache-of-locking'), '--offline', '--silent'];
  run('npm', ['install', '--package-lock-only', '--no-audit', ...options]);
  await rename(join(beside, 'package-lock.json'), join(folder, 'package-lock.json'));
}

function run(command: string, args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`);
}

async function setUp(...args: string[]): Promise<{ code: number; said: string }> {
  const env = {
    ...process.env,
    npm_config_offline: 'true',
    npm_config_cache: join(folder, 'cache'),
    npm_execpath: '',
  };
  const child = spawn(process.execPath, ['scripts/setup.mjs', ...args], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [said, printed, [code]] = await Promise.all([
    text(child.stderr),
    text(child.stdout),
    once(child, 'close') as Promise<[number]>,
  ]);
  // The output of the command that comes after it stays its own.
  expect(printed).toBe('');
  return { code, said };
}

async function installed(): Promise<string[]> {
  const names = await readdir(join(folder, 'node_modules'));
  return names.filter((name) => !name.startsWith('.')).sort();
}

describe('scripts/setup.mjs', () => {
  it('installs what is locked, links Node, and is silent from then on', async () => {
    expect(await setUp()).toMatchObject({ code: 0, said: expect.stringContaining('installing') });
    expect(await installed()).toEqual(['needed', 'tool']);
    const { stdout } = spawnSync(join(folder, 'node_modules/.bin/node'), ['-v'], { encoding: 'utf8' });
    expect(stdout).toMatch(/^v2[4-9]\./);
    const before = await stat(join(folder, 'node_modules/.package-lock.json'));
    expect(await setUp()).toEqual({ code: 0, said: '' });
    expect((await stat(join(folder, 'node_modules/.package-lock.json'))).ino).toBe(before.ino);
  });

  it('installs again when another version is locked', async () => {
    await setUp();
    await declare({ needed: '2.0.0', tool: '1.0.0' });
    expect((await setUp()).code).toBe(0);
    const found = await readFile(join(folder, 'node_modules/needed/package.json'), 'utf8');
    expect(JSON.parse(found)).toMatchObject({ version: '2.0.0' });
    expect(await setUp()).toEqual({ code: 0, said: '' });
  });

  it('takes an installation by hand as it is', async () => {
    run('npm', ['ci', '--offline', '--omit=dev', '--silent']);
    expect(await setUp('--production')).toEqual({ code: 0, said: '' });
    expect(await installed()).toEqual(['needed']);
  });

  it('leaves development packages out of a production installation until a command needs them', async () => {
    await setUp('--production');
    expect(await installed()).toEqual(['needed']);
    await setUp();
    expect(await installed()).toEqual(['needed', 'tool']);
    expect(await setUp('--production')).toEqual({ code: 0, said: '' });
  });

  it('finishes an installation that was cut short', async () => {
    await setUp();
    await rm(join(folder, 'node_modules/.package-lock.json'));
    await rm(join(folder, 'node_modules/tool'), { recursive: true });
    expect((await setUp()).code).toBe(0);
    expect(await installed()).toEqual(['needed', 'tool']);
  });

  it('installs once when two commands start at the same time', async () => {
    const both = await Promise.all([setUp(), setUp()]);
    expect(both.map(({ code }) => code)).toEqual([0, 0]);
    expect(both.filter(({ said }) => said.includes('packages are installed'))).toHaveLength(1);
    expect(await readdir(folder)).not.toContain('.setup-lock');
  });

  it('passes the lock of a process that is gone', async () => {
    const { pid } = spawnSync(process.execPath, ['--version']);
    const { hostname } = await import('node:os');
    await writeJson('.setup-lock', { host: hostname(), pids: [pid] });
    expect((await setUp()).code).toBe(0);
  });

  it('links Node anew when the link leads nowhere', async () => {
    await setUp();
    const link = join(folder, 'node_modules/.bin/node');
    const target = await readlink(link);
    run('ln', ['-sfn', '/nowhere/node', link]);
    expect((await setUp()).code).toBe(0);
    expect(await readlink(link)).toBe(target);
  });

  it.each([
    [
      'a lockfile that is damaged',
      () => writeFile(join(folder, 'package-lock.json'), '{'),
      'package-lock.json is missing',
    ],
    ['a package that cannot be had', () => rm(join(folder, 'needed-1.0.0.tgz')), 'npm ci failed'],
  ])('says what is wrong: %s', async (_, spoil, message) => {
    await spoil();
    expect(await setUp()).toMatchObject({ code: 1, said: expect.stringContaining(message) });
    expect(await readdir(folder)).not.toContain('.setup-lock');
  });
});
