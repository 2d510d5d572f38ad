import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fededge } from './support/command.ts';
import { createRepository, type Repository, releaseOf } from './support/repositories.ts';

const FILE = 'infra/environments/dev/models/mnist.yaml';
let repository: Repository;
beforeEach(() => {
  repository = createRepository();
});
afterEach(() => repository.remove());

const rollback = (...args: string[]) =>
  fededge(['release', 'rollback', '--environment', 'dev', '--model', 'mnist', ...args], {
    cwd: repository.root,
  });

function release(text: string, message: string): string {
  repository.write(FILE, text);
  return repository.commit(message);
}

describe('release rollback', () => {
  it('brings the very bytes of the version before back, past other steps of the same one', async () => {
    release(releaseOf(6, ['# good', 'bakeSeconds: 60']), '6');
    release(releaseOf(7, ['bakeSeconds: 60']), '7');
    release(releaseOf(7, ['bakeSeconds: 5']), '7, faster');
    const { code } = await rollback('--commit');
    expect([code, repository.read(FILE)]).toEqual([0, releaseOf(6, ['# good', 'bakeSeconds: 60'])]);
    expect(repository.git('log', '-1', '--format=%s')).toMatch(
      /^revert\(dev\): back to mnist 6, as of [0-9a-f]{12}$/,
    );
    expect(repository.read('infra/manifests/dev/rollout/catalog.yaml')).toContain('"version": 6');
  });

  it('goes back twice when it is called twice', async () => {
    for (const version of [5, 6, 7]) release(releaseOf(version), String(version));
    await rollback('--commit');
    expect(repository.read(FILE)).toBe(releaseOf(6));
    await rollback('--commit');
    expect(repository.read(FILE)).toBe(releaseOf(5));
    expect(await rollback('--commit')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('gave no other version before'),
    });
  });

  it('goes to the revision that is named', async () => {
    const first = release(releaseOf(5), '5');
    for (const version of [6, 7]) release(releaseOf(version), String(version));
    await rollback('--to', first);
    expect(repository.read(FILE)).toBe(releaseOf(5));
    expect(await rollback('--to', 'v9')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('v9 has no'),
    });
  });

  it('knows that there is nothing', async () => {
    expect(await rollback()).toMatchObject({ code: 1, stderr: expect.stringContaining('git knows no') });
  });
});
