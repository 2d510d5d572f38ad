import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { healthConfiguration, readHealthChecks } from '../../../infra/argocd/health.ts';
import { healthExamples } from './health-examples.ts';

const run = promisify(execFile);
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fededge');
const argocd = join(cache, 'cluster', 'bin', 'argocd');

/** The API version that each kind is written in. */
const versions: Record<string, string> = {
  batch: 'v1',
  'gateway.networking.k8s.io': 'v1',
  'postgresql.cnpg.io': 'v1',
  'external-secrets.io': 'v1',
  'serving.knative.dev': 'v1',
  'serving.kserve.io': 'v1beta1',
};

/** One bad example of each kind: Argo CD takes half a second for each. */
const cases = Object.entries(healthExamples).map(([key, examples]) => {
  const [group, kind] = key.split('_') as [string, string];
  const example = examples.find(({ status }) => status === 'Degraded') ?? examples.at(-1)!;
  return [kind, { group, kind, example }] as const;
});

describe('Argo CD’s own interpreter', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fededge-argocd-'));
    const configuration = healthConfiguration(await readHealthChecks(), 'argocd');
    await writeFile(join(folder, 'argocd-cm.json'), JSON.stringify(configuration));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  beforeEach(({ skip }) =>
    skip(!existsSync(argocd), 'no argocd is built here: test/support/cluster/build.sh'),
  );

  test.each(cases)('says the same of %s', async (_, { group, kind, example }) => {
    const object = {
      apiVersion: `${group}/${versions[group] ?? 'v1alpha1'}`,
      kind,
      ...example.object,
      metadata: { name: 'x', ...(example.object.metadata as object) },
    };
    const file = join(folder, `${kind}.json`);
    await writeFile(file, JSON.stringify(object));
    const configuration = join(folder, 'argocd-cm.json');
    const { stdout } = await run(argocd, [
      ...['admin', 'settings', 'resource-overrides', 'health', file],
      ...['--argocd-cm-path', configuration],
    ]);
    expect(stdout).toContain(`STATUS: ${example.status}`);
    expect(stdout).toContain(example.says ?? 'MESSAGE: ');
  });
});
