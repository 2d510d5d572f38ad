import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

const folder = new URL('../../../.github/workflows/', import.meta.url);
const read = (name: string) => readFileSync(new URL(name, folder), 'utf8');

interface Workflow {
  permissions: Record<string, string>;
  jobs: Record<
    string,
    {
      steps: { uses?: string; run?: string }[];
      'timeout-minutes': number;
      env?: Record<string, string>;
      strategy?: { matrix: { include: { target: string }[] } };
    }
  >;
}

it.each(readdirSync(folder))('%s pins its actions, bounds its time and may read alone by default', (name) => {
  const { permissions, jobs } = parse(read(name)) as Workflow;
  expect(permissions).toEqual({ contents: 'read' });
  for (const job of Object.values(jobs)) {
    expect(job['timeout-minutes']).toBeGreaterThan(0);
    for (const { uses } of job.steps) if (uses) expect(uses).toMatch(/@[0-9a-f]{40}$/);
    // What a name holds is text to the shell, never a command.
    for (const { run = '' } of job.steps) expect(run).not.toContain('${{');
  }
});

it('fuzzes at night with settings that reach the tests, other requests each time', () => {
  const { env, steps } = (parse(read('nightly.yml')) as Workflow).jobs.fuzz!;
  const command = steps.at(-1)!.run!;
  const files = command.split(' ').filter((word) => word.endsWith('.test.ts'));
  expect(files).toHaveLength(2);
  const texts = files.map((file) => readFileSync(new URL(`../../${file}`, folder), 'utf8')).join('\n');
  for (const name of Object.keys(env!)) {
    // `npm test` keeps all other settings of FedEdge from the tests.
    expect(name).toMatch(/^FEDEDGE_TEST_/);
    expect(texts).toContain(`process.env.${name}`);
  }
  expect(env!.FEDEDGE_TEST_FUZZ_SEED).toBe(`\${{ github.run_number }}`);
});

it('pushes the images that the environments run, under the versions that they name', () => {
  const { image } = (parse(read('image.yml')) as Workflow).jobs;
  const { env, strategy, steps } = image!;
  expect(env?.IMAGE).toBe(`ghcr.io/\${{ github.repository_owner }}/\${{ matrix.target }}`);
  expect(steps.map(({ run = '' }) => run).join()).toContain(`--tag "$IMAGE:\${GITHUB_REF_NAME#v}"`);
  const pushed = strategy?.matrix.include.map(({ target }) => `ghcr.io/fededge/${target}`);
  const environments = new URL('../../../infra/environments/', import.meta.url);
  for (const name of readdirSync(environments)) {
    const text = readFileSync(new URL(`${name}/version.json`, environments), 'utf8');
    const version = JSON.parse(text) as { image: string; tag: string };
    expect(pushed, name).toContain(version.image);
    expect(version.tag, name).toMatch(/^\d+\.\d+\.\d+$/);
  }
});

it('builds every target that the Dockerfile names, then signs and attests it', () => {
  const dockerfile = readFileSync(new URL('../../../infra/docker/Dockerfile', import.meta.url), 'utf8');
  const targets = [...dockerfile.matchAll(/^FROM .* AS (fededge[a-z-]*)$/gm)].map((match) => match[1]);
  const text = read('image.yml');
  const built = [...text.matchAll(/target: (fededge[a-z-]*)/g)].map((match) => match[1]);
  expect(targets).toHaveLength(3);
  expect(built).toEqual(targets);
  const commands = (parse(text) as Workflow).jobs.image!.steps.map(({ run = '' }) => run).join('\n');
  for (const part of ['cosign sign', '--type cyclonedx', '--type slsaprovenance1', 'npm run sbom']) {
    expect(commands).toContain(part);
  }
});
