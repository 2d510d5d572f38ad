import { contentHash } from '../catalog/content-hash.ts';
import type { Environment } from '../environment.ts';
import type { k8s } from '../kubernetes.ts';
import { names, ports, selectorOf } from '../names.ts';
import { blobVariables, configurationOf, databaseVariables, operatorVariables } from './configuration.ts';
import { podOf, probe, spread } from './pods.ts';
import { dataFolder, type Mounted, secretFile } from './volumes.ts';

/** Endpoints need a moment to forget a pod; then it drains its polls and uploads. */
const LEAVE_SECONDS = 5;
/** A shutdown takes 20 s at most; the rest is room for a node that is busy. */
const GRACE_SECONDS = 60;

const CATALOG = '/etc/fededge/catalog';
const catalog: Mounted = {
  volume: { name: 'catalog', configMap: { name: names.catalog, optional: true } },
  mount: { mountPath: CATALOG, readOnly: true },
};
const TOKEN_KEYS = 'token-keys.json';

/** The pod of the API, for whatever runs it: a Deployment, a Rollout, a Knative Service. */
export function apiPod(environment: Environment): k8s.PodTemplateSpec {
  const isEmbedded = environment.settings.database.kind === 'embedded';
  const keys = secretFile('keys', names.secret, { key: TOKEN_KEYS, path: TOKEN_KEYS }, '/etc/fededge/keys');
  return podOf(environment, {
    component: 'api',
    args: ['server'],
    configured: true,
    resources: environment.settings.api.resources,
    env: [
      ...databaseVariables(environment),
      ...blobVariables(environment),
      ...operatorVariables(environment),
      { name: 'FEDEDGE_CATALOG', value: CATALOG },
      ...(isEmbedded ? [] : [{ name: 'FEDEDGE_TOKEN_KEYS', value: `/etc/fededge/keys/${TOKEN_KEYS}` }]),
    ],
    ports: { http: ports.http },
    probes: {
      startupProbe: probe('/livez', 'http', { periodSeconds: 1, failureThreshold: 120, timeoutSeconds: 2 }),
      livenessProbe: probe('/livez', 'http', { periodSeconds: 10, failureThreshold: 3, timeoutSeconds: 5 }),
      readinessProbe: probe('/readyz', 'http', { periodSeconds: 5, failureThreshold: 2, timeoutSeconds: 3 }),
    },
    volumes: [dataFolder(environment), catalog, ...(isEmbedded ? [] : [keys])],
    annotations: { 'fededge.dev/configuration': contentHash(configurationOf(environment)).slice(0, 10) },
    lifecycle: {
      preStop: { exec: { command: ['node', '-e', `setTimeout(() => {}, ${LEAVE_SECONDS * 1000})`] } },
    },
    pod: {
      terminationGracePeriodSeconds: GRACE_SECONDS,
      topologySpreadConstraints: spread(selectorOf('api')),
    },
  });
}
