import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Failure, misuse } from '../failure.ts';
import { createGit, type Git } from './git.ts';

/** A work tree with `infra/environments`. Paths are below its root. */
export interface Workspace {
  root: string;
  git: Git;
  environments: readonly string[];
}

const ENVIRONMENTS = join('infra', 'environments');

/** The work tree that the folder is in: the nearest one above with infra/environments. */
export async function openWorkspace(folder: string): Promise<Workspace> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    if (existsSync(join(at, ENVIRONMENTS))) return describe(at);
    if (at === dirname(at)) break;
  }
  throw new Failure(
    `there is no ${ENVIRONMENTS} in ${resolve(folder)} or above it`,
    'Change to your clone, or name it with --repository FOLDER.',
  );
}

async function describe(root: string): Promise<Workspace> {
  const entries = await readdir(join(root, ENVIRONMENTS), { withFileTypes: true });
  const environments = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  return { root, git: createGit(root), environments: environments.sort() };
}

/** Throws a usage failure unless the environment is there. */
export function requireEnvironment({ environments }: Workspace, name: string): string {
  if (environments.includes(name)) return name;
  throw misuse(`there is no environment ${name}`, `There are: ${environments.join(', ')}.`);
}

export function modelFile(environment: string, model: string): string {
  if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(model)) throw misuse(`${model} is no model's name`, 'As mnist-cnn.');
  return `infra/environments/${environment}/models/${model}.yaml`;
}

export function manifestFolder(environment: string): string {
  return `infra/manifests/${environment}`;
}

/** What the last commit has at a path, or any other revision; undefined: nothing, or there is no git. */
export async function readCommitted(
  { git }: Workspace,
  path: string,
  revision = 'HEAD',
): Promise<string | undefined> {
  const { code, stdout } = await git.attempt(['show', `${revision}:./${path}`]);
  return code === 0 ? stdout : undefined;
}

/** What lies at a path now; undefined: nothing. */
export async function readPresent({ root }: Workspace, path: string): Promise<string | undefined> {
  try {
    return await readFile(join(root, path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

export async function isGit({ git }: Workspace): Promise<boolean> {
  return (await git.attempt(['rev-parse', '--verify', '--quiet', 'HEAD'])).code === 0;
}
