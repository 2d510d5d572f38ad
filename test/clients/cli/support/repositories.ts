import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll } from 'vitest';
import { createEnvironment } from './command.ts';

const source = new URL('../../../../', import.meta.url).pathname;

/** A clone with the real renderer and two environments, dev and staging, that have no models and no runs. */
export interface Repository {
  root: string;
  git(...args: string[]): string;
  read(path: string): string;
  write(path: string, text: string): void;
  /** Commits everything, as it lies there. */
  commit(message: string): string;
  remove(): void;
}

let template: string | undefined;
afterAll(() => {
  if (template !== undefined) rmSync(template, { recursive: true, force: true });
});

export function createRepository(): Repository {
  template ??= makeTemplate();
  const root = mkdtempSync(join(tmpdir(), 'fededge-cli-'));
  cpSync(template, root, { recursive: true, verbatimSymlinks: true });
  return openRepository(root);
}

/** Made once for a test file. */
function makeTemplate(): string {
  const root = mkdtempSync(join(tmpdir(), 'fededge-cli-template-'));
  cpSync(join(source, 'infra'), join(root, 'infra'), {
    recursive: true,
    filter: (path) => !path.startsWith(join(source, 'infra', 'manifests')),
  });
  const environments = join(root, 'infra', 'environments');
  for (const name of readdirSync(environments)) {
    const parts = ['dev', 'staging'].includes(name) ? ['models', 'runs'] : ['.'];
    for (const part of parts) rmSync(join(environments, name, part), { recursive: true, force: true });
  }
  cpSync(join(source, 'package.json'), join(root, 'package.json'));
  symlinkSync(join(source, 'node_modules'), join(root, 'node_modules'));
  writeFileSync(join(root, '.gitignore'), 'node_modules\n');
  const repository = openRepository(root);
  repository.git('init', '--quiet', '--initial-branch', 'main');
  repository.git('config', 'user.name', 'Tester');
  repository.git('config', 'user.email', 'tester@fededge.test');
  execFileSync(process.execPath, ['infra/main.ts'], { cwd: root, env: createEnvironment() });
  repository.commit('initial');
  return root;
}

function openRepository(root: string): Repository {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trimEnd();
  return {
    root,
    git,
    read: (path) => readFileSync(join(root, path), 'utf8'),
    write(path, text) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    },
    commit(message) {
      git('add', '--all');
      git('commit', '--quiet', '--message', message);
      return git('rev-parse', 'HEAD');
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/** The text of a release of mnist by number; the digest is that number's. */
export function releaseOf(version: number, more: readonly string[] = []): string {
  return [`model: mnist`, `version: ${version}`, `digest: ${digestOf(version)}`, ...more, ''].join('\n');
}

export function digestOf(version: number): string {
  return `sha-256:${String(version).padStart(64, '0')}`;
}
