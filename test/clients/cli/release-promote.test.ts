import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fededge } from './support/command.ts';
import { createRepository, type Repository, releaseOf } from './support/repositories.ts';

const DEV = 'infra/environments/dev/models/mnist.yaml';
const STAGING = 'infra/environments/staging/models/mnist.yaml';
let repository: Repository;
beforeEach(() => {
  repository = createRepository();
});
afterEach(() => repository.remove());

const promote = (...args: string[]) =>
  fededge(['release', 'promote', '--model', 'mnist', '--from', 'dev', '--to', 'staging', ...args], {
    cwd: `${repository.root}/infra`,
  });

describe('release promote', () => {
  it('copies the file, with what the other environment gave so far as previous', async () => {
    repository.write(DEV, releaseOf(7, ['previous: 6', '# carefully', 'bakeSeconds: 60']));
    repository.write(STAGING, releaseOf(4));
    repository.commit('dev 7, staging 4');
    const { code } = await promote('--commit');
    expect(code).toBe(0);
    expect(repository.read(STAGING)).toBe(releaseOf(7, ['previous: 4', '# carefully', 'bakeSeconds: 60']));
    expect(repository.read(DEV)).toContain('previous: 6');
    expect(repository.git('log', '-1', '--format=%s')).toBe('release(staging): mnist 7, as in dev');
    expect(repository.read('infra/manifests/staging/rollout/catalog.yaml')).toContain('"version": 7');
  });

  it('copies it as it is where there was none, but for the previous of elsewhere', async () => {
    repository.write(DEV, releaseOf(7, ['previous: 6', 'bakeSeconds: 60']));
    repository.commit('dev 7');
    await promote();
    expect(repository.read(STAGING)).toBe(releaseOf(7, ['bakeSeconds: 60']));
  });

  it('promotes what was decided, not what somebody is writing', async () => {
    repository.write(DEV, releaseOf(7));
    repository.commit('dev 7');
    repository.write(DEV, releaseOf(8));
    await promote();
    expect(repository.read(STAGING)).toBe(releaseOf(7));
    expect(await promote('--commit')).toMatchObject({ code: 1, stderr: expect.stringContaining(DEV) });
  });

  it('does not promote what is not committed, or not there', async () => {
    expect(await promote()).toMatchObject({ code: 1, stderr: expect.stringContaining('dev has no release') });
    repository.write(DEV, releaseOf(7));
    expect(await promote()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('is not committed yet'),
    });
  });

  it('refuses a branch that is there', async () => {
    repository.write(DEV, releaseOf(7));
    repository.commit('dev 7');
    expect(await promote('--branch', 'main')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('the branch main is there already'),
    });
    expect(repository.git('status', '--porcelain')).toBe('');
  });
});
