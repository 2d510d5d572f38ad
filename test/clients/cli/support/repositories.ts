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

const source = new URL('../../../../', import.meta.url).pathname;
const IDENTITY = ['-c', 'user.name=Tester', '-c', 'user.email=tester@fededge.test'];

/** A clone with the real renderer and two environments, dev and staging, that have no models and no runs. */
export interface Repository {
  root: string;
  git(...args: string[]): string;
  read(path: string): string;
  write(path: string, text: string): void;
  /** Renders, and commits everything. */
  commit(message: string): string;
  remove(): void;
}

export function createRepository(): Repository {
  const root = mkdtempSync(join(tmpdir(), 'fededge-cli-'));
  cpSync(join(source, 'infra'), join(root, 'infra'), {
    recursive: true,
    filter: (path) => !path.startsWith(join(source, 'infra', 'manifests')),
  });
  const environments = join(root, 'infra', 'environments');
  for (const name of readdirSync(environments)) {
    if (!['dev', 'staging'].includes(name)) rmSync(join(environments, name), { recursive: true });
    else
      for (const part of ['models', 'runs'])
        rmSync(join(environments, name, part), { recursive: true, force: true });
  }
  cpSync(join(source, 'package.json'), join(root, 'package.json'));
  symlinkSync(join(source, 'node_modules'), join(root, 'node_modules'));
  writeFileSync(join(root, '.gitignore'), 'node_modules\n');

  const git = (...args: string[]) =>
    execFileSync('git', [...IDENTITY, ...args], { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trimEnd();
  git('init', '--quiet', '--initial-branch', 'main');
  git('config', 'user.name', 'Tester');
  git('config', 'user.email', 'tester@fededge.test');
  const repository: Repository = {
    root,
    git,
    read: (path) => readFileSync(join(root, path), 'utf8'),
    write(path, text) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    },
    commit(message) {
      execFileSync(process.execPath, ['infra/main.ts'], { cwd: root });
      git('add', '--all');
      git('commit', '--quiet', '--message', message);
      return git('rev-parse', 'HEAD');
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
  repository.commit('initial');
  return repository;
}

/** The text of a release of mnist by number; the digest is that number's. */
export function releaseOf(version: number, more: readonly string[] = []): string {
  return [`model: mnist`, `version: ${version}`, `digest: ${digestOf(version)}`, ...more, ''].join('\n');
}

export function digestOf(version: number): string {
  return `sha-256:${String(version).padStart(64, '0')}`;
}
