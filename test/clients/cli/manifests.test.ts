import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fededge, fededgeProcess } from './support/command.ts';
import { createRepository, type Repository, releaseOf } from './support/repositories.ts';

const FILE = 'infra/environments/dev/models/mnist.yaml';
const CATALOG = 'infra/manifests/dev/rollout/catalog.yaml';
let repository: Repository;
beforeEach(() => {
  repository = createRepository();
});
afterEach(() => repository.remove());

const manifests = (...args: string[]) => fededge(['manifests', ...args], { cwd: repository.root });

describe('manifests', () => {
  it('differ where something is not rendered, and do not once it is', async () => {
    expect(await manifests('diff')).toMatchObject({ code: 0, stdout: 'no difference from HEAD\n' });
    repository.write(FILE, releaseOf(7));
    const diff = await manifests('diff', '--environment', 'dev');
    expect(diff.code).toBe(1);
    expect(diff.stdout).toContain(`+++ b/${CATALOG}`);
    expect(diff.stdout).toMatch(/^\+.*"version": 7/m);
    expect(repository.git('status', '--porcelain', 'infra/manifests')).toBe('');
    expect((await manifests('diff', '--environment', 'staging')).code).toBe(0);

    const rendered = await manifests('render');
    expect(rendered).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`differs from the last commit: ${CATALOG}`),
    });
    repository.commit('7');
    expect((await manifests('diff')).code).toBe(0);
  });

  it('differ from another revision', async () => {
    repository.git('branch', 'before');
    repository.write(FILE, releaseOf(7));
    await manifests('render');
    repository.commit('7');
    const args = ['manifests', 'diff', '--against', 'before', '--json'];
    const { code, json } = await fededgeProcess(args, { cwd: repository.root });
    expect([code, json()]).toEqual([
      1,
      { against: 'before', environments: ['dev', 'staging'], files: expect.arrayContaining([CATALOG]) },
    ]);
  });

  it('cannot be compared with what git does not know', async () => {
    expect(await manifests('diff', '--against', 'nowhere')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('git knows no revision nowhere'),
    });
  });
});
