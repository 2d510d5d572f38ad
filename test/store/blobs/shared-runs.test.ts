import { expect, it } from 'vitest';
import { shareRuns } from '../../../api/store/blobs/shared-runs.ts';

function setUp() {
  const runs: PromiseWithResolvers<void>[] = [];
  const shared = shareRuns(() => {
    const run = Promise.withResolvers<void>();
    runs.push(run);
    return run.promise;
  });
  return { runs, shared };
}

it('gives each caller a run that begins after its call', async () => {
  const { runs, shared } = setUp();
  const first = shared();
  const meanwhile = [shared(), shared()];
  expect(runs).toHaveLength(1);
  runs[0]!.resolve();
  await first;
  await expect.poll(() => runs.length).toBe(2);
  const later = shared();
  runs[1]!.resolve();
  await Promise.all(meanwhile);
  await expect.poll(() => runs.length).toBe(3);
  runs[2]!.resolve();
  await later;
  const alone = shared();
  expect(runs).toHaveLength(4);
  runs[3]!.resolve();
  await alone;
});

it('fails those who share the run that fails, and nobody else', async () => {
  const { runs, shared } = setUp();
  const first = shared();
  const meanwhile = [shared(), shared()];
  runs[0]!.reject(new Error('injected'));
  await expect(first).rejects.toThrow('injected');
  await expect.poll(() => runs.length).toBe(2);
  runs[1]!.resolve();
  await expect(Promise.all(meanwhile)).resolves.toHaveLength(2);
});
