import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { parse } from 'yaml';

const file = fileURLToPath(new URL('../../../infra/docker/compose.yaml', import.meta.url));
const folder = dirname(file);
const root = join(folder, '../..');

interface Service {
  image: string;
  command?: string[];
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  tmpfs?: string[];
  depends_on?: string[] | Record<string, { condition: string }>;
  read_only?: boolean;
  cap_drop?: string[];
  stop_grace_period?: string;
  healthcheck?: { test: unknown[] };
}

const compose = parse(readFileSync(file, 'utf8'), { merge: true }) as {
  services: Record<string, Service>;
  volumes: Record<string, null>;
};
const services = Object.entries(compose.services);
const ours = services.filter(([, { image }]) => image.includes('FEDEDGE_IMAGE'));
const read = (name: string) => readFileSync(join(root, name), 'utf8');

/** What a mount has on the left: `${NAME:-default}` counts as its default. */
function mounted({ volumes = [] }: Service): string[] {
  const plain = volumes.map((volume) => volume.replace(/\$\{\w+:-([^}]*)\}/g, '$1'));
  return plain.map((volume) => volume.split(':')[0]!);
}

const hasCompose = spawnSync('docker', ['compose', 'version']).status === 0;

it('is taken by docker compose', ({ skip }) => {
  skip(!hasCompose, 'there is no docker compose');
  const text = execFileSync('docker', ['compose', '-f', file, 'config', '--format', 'json'], {
    encoding: 'utf8',
  });
  expect(Object.keys((JSON.parse(text) as typeof compose).services)).toContain('api');
});

it('runs each part that an installation needs', () => {
  expect(ours.map(([name, { command }]) => [name, command?.[0]])).toEqual([
    ['migrate', 'migrate'],
    ['api', 'server'],
    ['worker', 'worker'],
    ['agent', 'agent'],
  ]);
  const others = services.filter((one) => !ours.includes(one)).map(([name]) => name);
  expect(others).toEqual(['postgres', 'store', 'bucket', 'prometheus', 'grafana', 'collector']);
});

it('gives our containers the 20 s that a shutdown may take', () => {
  for (const [, { stop_grace_period = '10s' }] of ours) {
    expect(Number.parseInt(stop_grace_period, 10)).toBeGreaterThan(20);
  }
});

it('gives our containers nothing that they do not need', () => {
  for (const [name, service] of ours) {
    expect(service, name).toMatchObject({ read_only: true, cap_drop: ['ALL'] });
    expect(service.tmpfs, name).toContain('/tmp');
    const data = [...(service.tmpfs ?? []), ...(service.volumes ?? [])];
    expect(
      data.some((place) => /^\/data:|:\/data$/.test(place)),
      name,
    ).toBe(true);
  }
});

it('pins every image, and is reached from this machine alone', () => {
  for (const [name, { image, ports = [] }] of services) {
    expect(image, name).toMatch(/:[^:]*\d|FEDEDGE_IMAGE/);
    expect(image, name).not.toMatch(/:latest$/);
    for (const port of ports) expect(port, name).toMatch(/^127\.0\.0\.1:/);
  }
});

it('mounts what exists', () => {
  for (const [name, service] of services) {
    for (const source of mounted(service)) {
      if (!source.startsWith('.')) expect(Object.keys(compose.volumes), name).toContain(source);
      // The examples are the user's.
      else if (name !== 'agent') expect(existsSync(join(folder, source)), `${name}: ${source}`).toBe(true);
    }
  }
});

it('has commands of words alone', () => {
  for (const [name, { command = [], healthcheck }] of services) {
    const words = [...command, ...(healthcheck?.test ?? [])];
    for (const word of words) expect(typeof word, `${name}: ${JSON.stringify(word)}`).toBe('string');
  }
});

it('waits for what it needs: a service that is there, and that tells when it is', () => {
  for (const [name, { depends_on: needs = {} }] of services) {
    const conditions = Array.isArray(needs)
      ? needs.map((need) => [need, undefined] as const)
      : Object.entries(needs);
    for (const [need, how] of conditions) {
      const service = compose.services[need];
      expect(service, `${name} needs ${need}`).toBeDefined();
      if (how?.condition === 'service_healthy' && need !== 'api') expect(service!.healthcheck).toBeDefined();
    }
  }
  expect(Object.keys(compose.services.api!.depends_on!)).toContain('migrate');
  expect(compose.services.api!.environment).toMatchObject({ FEDEDGE_MIGRATE: 'off', FEDEDGE_WORKER: 'off' });
});

it('sets variables that our programs read', () => {
  const known = read('api/config.ts') + read('clients/typescript/program/agent-environment.ts');
  for (const [name, { environment = {} }] of ours) {
    const set = Object.keys(environment).filter((variable) => variable.startsWith('FEDEDGE_'));
    for (const variable of set) expect(known, `${name}: ${variable}`).toContain(variable);
  }
});

it('scrapes the API and the worker where they serve their metrics', () => {
  const { scrape_configs: jobs, rule_files: rules } = parse(read('infra/docker/prometheus.yaml')) as {
    scrape_configs: { static_configs: { targets: string[] }[] }[];
    rule_files: string[];
  };
  const targets = jobs.flatMap((job) => job.static_configs.flatMap((one) => one.targets));
  const { FEDEDGE_METRICS_PORT: port } = compose.services.worker!.environment!;
  expect(targets).toEqual(['api:8080', `worker:${port}`]);
  const places = compose.services.prometheus!.volumes!.map((volume) => volume.split(':')[1]);
  for (const rule of rules) expect(places).toContain(rule);
});
