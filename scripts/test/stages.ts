import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** One command of the whole test. It counts as one that passed or failed, unless it counts tests itself. */
export interface Stage {
  name: string;
  command: readonly [string, ...string[]];
  /** Shown while it runs, not only when it fails. */
  live?: true;
  /** It counts its tests itself (count-reporter.ts). */
  counts?: true;
  /** It is tried once more when it fails, and that is told: what it works with is not all ours. */
  repeats?: true;
  /** What a machine need not have: a failure is reported as skipped, with the last line that it said. */
  optional?: true;
}

const check = (script: string): Stage['command'] => ['node', `scripts/${script}.ts`, '--check'];
const contract = ['openapi/openapi.json', 'openapi/openapi-3.0.json'];

/** Stages of a lane run one after another, the lanes side by side. `vitestArgs`: file filters and options. */
export function planStages(vitestArgs: readonly string[]): Stage[][] {
  const biome = ['--config-path', 'scripts/biome-config.json', '--error-on-warnings'];
  const vitest = ['run', '--config', 'scripts/vitest.config.ts', ...vitestArgs];
  const source = ['api', 'clients', 'infra', 'scripts', 'test'].filter((name) =>
    existsSync(join(root, name)),
  );
  return [
    [
      { name: 'lint', command: ['biome', 'check', ...biome] },
      { name: 'types', command: ['tsc', '-p', 'scripts/tsconfig.json', '--noEmit'] },
      { name: 'layers', command: ['depcruise', '--config', 'scripts/dependency-rules.mjs', ...source] },
      { name: 'unused', command: ['knip', '--no-progress'] },
      { name: 'kernels', command: check('kernels') },
      { name: 'openapi', command: check('openapi') },
      { name: 'clients', command: check('clients') },
      { name: 'migrations', command: check('migrations') },
      { name: 'manifests', command: ['node', 'infra/main.ts', '--check'] },
      { name: 'contract', command: ['redocly', 'lint', ...contract, '--config', 'openapi/redocly.yaml'] },
    ],
    [
      { name: 'native', command: ['node', 'scripts/native.ts'], optional: true },
      { name: 'vitest', command: ['vitest', ...vitest], live: true, counts: true },
      { name: 'external', command: ['node', 'scripts/test/external-postgres.ts'], live: true, counts: true },
      {
        name: 'cluster',
        command: ['node', 'scripts/test-cluster.ts'],
        live: true,
        counts: true,
        repeats: true,
      },
    ],
    // What the cluster is made of takes 12 to 25 minutes of both cores: the tests above leave them idle at times.
    [
      {
        name: 'programs',
        command: ['nice', '-n', '15', 'node', 'scripts/test-cluster.ts', '--build'],
        optional: true,
      },
    ],
  ];
}
