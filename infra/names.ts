import type { Environment } from './environment.ts';

/** Names that objects call each other by. They are the same in every environment. */
export const names = {
  app: 'fededge',
  api: 'fededge-api',
  worker: 'fededge-worker',
  migrate: 'fededge-migrate',
  release: 'fededge-release',
  agent: 'fededge-agent',
  backup: 'fededge-backup',
  config: 'fededge-config',
  catalog: 'fededge-catalog',
  data: 'fededge-data',
  database: 'fededge-db',
  /** Secrets: of API and worker, of the release Jobs, of the agents. */
  secret: 'fededge',
  releaseSecret: 'fededge-release',
  agentSecret: 'fededge-agents',
} as const;

export const ports = { http: 8080, workerMetrics: 8081, agent: 8082, service: 80 } as const;

/** A user that is nobody on the node either. */
export const USER = 10_001;

export const components = ['api', 'worker', 'migrate', 'release', 'agent', 'backup'] as const;
export type Component = (typeof components)[number];

/** What selects a component's pods; never changes. */
export function selectorOf(component: Component): Record<string, string> {
  return { 'app.kubernetes.io/name': names.app, 'app.kubernetes.io/component': component };
}

/** What every object of a component carries. Without a component: what belongs to the whole. */
export function labelsOf({ version }: Environment, component?: Component): Record<string, string> {
  return {
    ...(component ? selectorOf(component) : { 'app.kubernetes.io/name': names.app }),
    'app.kubernetes.io/part-of': names.app,
    'app.kubernetes.io/version': version.tag,
  };
}

/** The image: by digest where there is one, else by tag. */
export function imageOf({ version }: Environment): string {
  return version.digest ? `${version.image}@${version.digest}` : `${version.image}:${version.tag}`;
}
