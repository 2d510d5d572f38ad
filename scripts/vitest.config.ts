import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const root = fileURLToPath(new URL('..', import.meta.url));
/** Tests that need no database: they start without waiting for one. */
const pure = [
  'test/*.test.ts',
  'test/domain/**/*.test.ts',
  'test/infra/**/*.test.ts',
  'test/kernels/**/*.test.ts',
  'test/scripts/**/*.test.ts',
];

export default defineConfig({
  test: {
    root,
    pool: 'forks',
    maxWorkers: 2,
    // Servers are started, killed and started again: on a busy machine that takes a while.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    reporters: ['default', `${root}scripts/test/count-reporter.ts`],
    projects: [
      { extends: true, test: { name: 'pure', include: pure } },
      {
        extends: true,
        test: {
          name: 'system',
          // Programs are killed, starved and cut off here while others compete for the machine: a second failure counts,
          // a first one is told at the end of `npm test`.
          retry: 1,
          include: ['test/**/*.test.ts'],
          exclude: pure,
          globalSetup: ['test/support/global-setup.ts'],
          setupFiles: ['test/support/told-failures.ts'],
        },
      },
    ],
  },
});
