import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HarborError } from '../../../infra/harbor/harbor.ts';
import { setUp, type Wanted } from '../../../infra/harbor/set-up.ts';
import { startFakeHarbor } from './fake-harbor.ts';

const wanted: Wanted = {
  project: 'fededge',
  robots: { ci: ['pull', 'push'], edge: ['pull'] },
  sites: { 'site-a': { url: 'https://harbor.site-a.example', login: { username: 'in', password: 'x' } } },
};
const login = { username: 'admin', password: 'Harbor12345' };

let fake: Awaited<ReturnType<typeof startFakeHarbor>>;
beforeEach(async () => {
  fake = await startFakeHarbor();
});
afterEach(() => fake.close());

test('project, robots, sites and replication are made, and each robot’s secret is told', async () => {
  const steps = await setUp({ url: fake.url, login }, wanted);

  expect(steps.map(({ what, outcome }) => `${outcome} ${what}`)).toEqual([
    'created project fededge',
    'created robot account robot$fededge+ci',
    'created robot account robot$fededge+edge',
    'created site site-a',
    'created replication to site-a',
  ]);
  expect(steps[2]?.login).toEqual({ username: 'robot$fededge+edge', password: 'secret-3' });
  expect(fake.projects).toMatchObject([{ name: 'fededge', metadata: { public: 'false' } }]);
  expect(fake.lists.robots?.[1]).toMatchObject({
    permissions: [{ namespace: 'fededge', access: [{ resource: 'repository', action: 'pull' }] }],
  });
  expect(fake.lists['replication/policies']).toMatchObject([
    { dest_registry: { id: 4 }, filters: [{ value: 'fededge/**' }], trigger: { type: 'event_based' } },
  ]);
});

test('the second time nothing is changed and no secret is told', async () => {
  await setUp({ url: fake.url, login }, wanted);
  const before = structuredClone({ projects: fake.projects, lists: fake.lists });
  fake.writes.length = 0;
  const steps = await setUp({ url: fake.url, login }, wanted);

  expect(new Set(steps.map(({ outcome }) => outcome))).toEqual(new Set(['unchanged']));
  expect(steps.every((step) => step.login === undefined)).toBe(true);
  expect(fake.writes).toEqual([expect.stringMatching(/^PUT registries\//)]);
  expect(fake.lists.robots).toEqual(before.lists.robots);
  expect(fake.projects).toEqual(before.projects);
});

test('what was changed by hand goes back', async () => {
  await setUp({ url: fake.url, login }, wanted);
  fake.projects[0]!.metadata = { public: 'true' };
  fake.lists.robots![1]!.permissions = [{ access: [{ resource: 'repository', action: 'delete' }] }];
  fake.lists['replication/policies']![0]!.enabled = false;
  const steps = await setUp({ url: fake.url, login }, wanted);

  expect(steps.map(({ outcome }) => outcome)).toEqual([
    'changed',
    'unchanged',
    'changed',
    'unchanged',
    'changed',
  ]);
  expect(fake.projects[0]).toMatchObject({ metadata: { public: 'false' } });
});

test('a robot is found among more than a page of them, and among names that contain its own', async () => {
  await setUp({ url: fake.url, login }, wanted);
  const [ci] = fake.lists.robots!;
  const others = Array.from({ length: 150 }, (_, at) => ({
    ...ci!,
    id: 1000 + at,
    name: `${ci!.name}-${at}`,
  }));
  fake.lists.robots!.unshift(...others);
  const steps = await setUp({ url: fake.url, login }, wanted, { renew: ['ci'] });

  expect(steps[1]).toMatchObject({ outcome: 'changed', login: { password: `renewed-${ci!.id}` } });
});

test('a refusal stops it, in Harbor’s words', async () => {
  const refused = setUp({ url: fake.url, login: { ...login, password: 'wrong' } }, wanted);
  await expect(refused).rejects.toThrow(HarborError);
  await expect(refused).rejects.toThrow('GET /projects/fededge: 401 {"errors":[{"code":"UNAUTHORIZED"}]}');
});

test('the program reads a file, and keeps secrets for their owner alone', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-harbor-'));
  try {
    const config = join(folder, 'harbor.json');
    await writeFile(config, JSON.stringify({ url: fake.url, ...login }));
    const args = ['infra/harbor/main.ts', '--config', config, '--secrets-to', join(folder, 'secrets')];
    const { stdout } = await promisify(execFile)(process.execPath, args);

    expect(stdout).toContain('created   robot account robot$fededge+edge');
    expect(stdout).not.toContain('secret-');
    const file = join(folder, 'secrets', 'edge.json');
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual({
      registry: new URL(fake.url).host,
      username: 'robot$fededge+edge',
      password: 'secret-3',
    });
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  } finally {
    await rm(folder, { recursive: true });
  }
});
