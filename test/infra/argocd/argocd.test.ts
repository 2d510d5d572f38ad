import { expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { gitOps } from '../../../infra/argocd/git-ops.ts';
import { allowedKinds } from '../../../infra/argocd/kinds.ts';
import { environmentProject } from '../../../infra/argocd/projects.ts';
import type { KubernetesObject } from '../../../infra/manifest-text.ts';
import { synthesize } from '../../../infra/synthesis.ts';
import { at } from '../support/objects.ts';
import { worlds } from '../support/worlds.ts';

const files = await synthesize();
const read = (path: string) =>
  parseAllDocuments(files.get(path)!).map((document) => document.toJS() as KubernetesObject);
const projects = read('argocd/projects.yaml');
const environments = ['dev', 'production', 'staging'];
const applicationsOf = (name: string) => read(`argocd/environments/${name}/applications.yaml`);
const group = ({ apiVersion }: KubernetesObject) =>
  apiVersion.includes('/') ? apiVersion.split('/')[0]! : '';

test('no project names anything by a wildcard', () => {
  expect(JSON.stringify(projects.map(({ spec }) => spec))).not.toContain('"*"');
  for (const { spec } of projects) {
    expect(at(spec, 'sourceRepos')).toEqual([gitOps.repoUrl]);
    expect(at(spec, 'destinations')).not.toEqual([]);
  }
});

test('a project allows what its environment, with any flavour, brings', () => {
  for (const { name, environment, objects } of worlds) {
    const { namespaced, clusterWide } = allowedKinds(environment.settings.flavours);
    const allowed = [...namespaced, ...clusterWide].map((each) => `${each.group}/${each.kind}`);
    const brought = new Set(objects.map((object) => `${group(object)}/${object.kind}`));
    expect(
      [...brought].filter((kind) => !allowed.includes(kind)),
      name,
    ).toEqual([]);
    const wide = objects.filter(({ metadata }) => metadata.namespace === undefined);
    const wideKinds = clusterWide.map(({ kind }) => kind);
    expect(
      wide.filter(({ kind }) => !wideKinds.includes(kind)).map(({ kind }) => kind),
      name,
    ).toEqual([]);
  }
});

test('it allows no more than some environment brings', () => {
  const brought = new Set(
    worlds.flatMap(({ objects }) => objects.map((each) => `${group(each)}/${each.kind}`)),
  );
  const allowed = worlds.flatMap(({ environment }) =>
    Object.values(allowedKinds(environment.settings.flavours)),
  );
  const unused = allowed.flat().filter((each) => !brought.has(`${each.group}/${each.kind}`));
  expect([...new Set(unused.map(({ kind }) => kind))]).toEqual([]);
});

test('Secrets and roles come from nowhere', () => {
  for (const { spec } of projects) {
    expect(JSON.stringify(spec)).not.toMatch(/"(Secret|Role|RoleBinding|ClusterRole|ClusterRoleBinding)"/);
  }
});

test.each(environments)('%s: every layer has its application, and waits for the one before', (name) => {
  const kustomization = parse(files.get(`${name}/kustomization.yaml`)!) as { resources: string[] };
  const applications = applicationsOf(name);
  expect(applications.map((each) => at(each, 'spec.source.path'))).toEqual(
    kustomization.resources.map((layer) => `infra/manifests/${name}/${layer}`),
  );
  const waves = applications.map(({ metadata }) =>
    Number(metadata.annotations?.['argocd.argoproj.io/sync-wave']),
  );
  expect(waves).toEqual([...waves].sort((a, b) => a - b));
  expect(new Set(waves).size).toBe(waves.length);
  const own = projects.find(({ metadata }) => metadata.name === `fededge-${name}`)!;
  for (const application of applications) {
    expect(at(application, 'spec.project')).toBe(own.metadata.name);
    expect(at(own, 'spec.destinations')).toContainEqual(at(application, 'spec.destination'));
    const path = `${String(at(application, 'spec.source.path')).replace('infra/manifests/', '')}/kustomization.yaml`;
    expect(files.has(path)).toBe(true);
  }
});

test('what git no longer has goes, unless it holds data', () => {
  const prunes = Object.fromEntries(
    applicationsOf('staging').map(({ metadata, spec }) => [
      metadata.name,
      at(spec, 'syncPolicy.automated.prune'),
    ]),
  );
  expect(prunes['fededge-staging-data']).toBe(false);
  expect(prunes['fededge-staging-server']).toBe(true);
});

test('an autoscaler’s number of replicas is left to it, another is git’s', () => {
  const server = (name: string) =>
    applicationsOf(name).find(({ metadata }) => metadata.name === `fededge-${name}-server`);
  expect(at(server('production'), 'spec.ignoreDifferences')).toEqual([
    { group: 'apps', kind: 'Deployment', name: 'fededge-api', jsonPointers: ['/spec/replicas'] },
  ]);
  expect(at(server('dev'), 'spec.ignoreDifferences')).toBeUndefined();
});

test('production is closed outside office hours: every hour of the week is open or closed as it should be', () => {
  const windows = at(
    projects.find(({ metadata }) => metadata.name === 'fededge-production'),
    'spec.syncWindows',
  );
  expect(windows).toMatchObject([
    { kind: 'deny', manualSync: true, timeZone: 'Europe/Berlin' },
    { kind: 'deny', manualSync: true },
  ]);
  const closed = new Set<number>();
  for (const { schedule, duration } of windows as { schedule: string; duration: string }[]) {
    const [, hour, , , days] = schedule.split(' ');
    const [first, last = first] = days!.split('-').map(Number);
    for (let day = first!; day <= last!; day += 1) {
      for (let n = 0; n < Number.parseInt(duration, 10); n += 1)
        closed.add((day * 24 + Number(hour) + n) % 168);
    }
  }
  const open = Array.from({ length: 168 }, (_, hour) => hour).filter((hour) => !closed.has(hour));
  const office = [1, 2, 3, 4, 5].flatMap((day) => Array.from({ length: 9 }, (_, n) => day * 24 + 8 + n));
  expect(open).toEqual(office);
});

test('staging and dev are always open', () => {
  for (const name of ['dev', 'staging']) {
    const project = projects.find(({ metadata }) => metadata.name === `fededge-${name}`);
    expect(at(project, 'spec.syncWindows')).toBeUndefined();
  }
});

test('an environment is found by its version.json; the edge goes to its sites instead', () => {
  const [environmentsSet, edge] = read('argocd/applications.yaml');
  expect(at(environmentsSet, 'spec.generators.0.git.files')).toEqual([
    { path: 'infra/environments/*/version.json' },
    { path: 'infra/environments/edge-k3s/version.json', exclude: true },
  ]);
  const sites = at(edge, 'spec.generators.0.list.elements') as { cluster: string }[];
  expect(sites).toEqual(gitOps.edge.sites);
  const project = projects.find(({ metadata }) => metadata.name === 'fededge-edge-k3s');
  expect(at(project, 'spec.destinations')).toEqual(
    sites.map(({ cluster }) => ({ name: cluster, namespace: 'fededge' })),
  );
  // A name that an element lacks is an error, not an empty text.
  for (const set of [environmentsSet, edge]) {
    expect(at(set, 'spec.goTemplateOptions')).toEqual(['missingkey=error']);
  }
});

test('the environment that follows the registry is not production', () => {
  const [updater] = read('argocd/image-updater/image-updater.yaml');
  expect(at(updater, 'spec.applicationRefs.0.namePattern')).toBe('fededge-dev-*');
  expect(at(updater, 'spec.namespace')).toBeUndefined();
});

test('an environment of a cluster that is not named runs beside Argo CD', () => {
  const { environment } = worlds.find(({ name }) => name === 'production')!;
  const project = environmentProject({ ...environment, name: 'lab' }, gitOps);
  expect(project.spec.destinations).toEqual([
    { server: 'https://kubernetes.default.svc', namespace: 'fededge' },
  ]);
});
