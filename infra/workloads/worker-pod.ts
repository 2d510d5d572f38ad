import { contentHash } from '../catalog/content-hash.ts';
import type { Environment } from '../environment.ts';
import type { k8s } from '../kubernetes.ts';
import { ports, selectorOf } from '../names.ts';
import { blobVariables, configurationOf, databaseVariables, operatorVariables } from './configuration.ts';
import { podOf, probe, spread } from './pods.ts';
import { dataFolder } from './volumes.ts';

/** A shutdown takes 20 s at most; the rest is room for a node that is busy. */
const GRACE_SECONDS = 60;

/** The pod of the worker. It starts to answer when the schema is there: a migration may take its time. */
export function workerPod(environment: Environment): k8s.PodTemplateSpec {
  return podOf(environment, {
    component: 'worker',
    args: ['worker'],
    configured: true,
    resources: environment.settings.worker.resources,
    env: [
      ...databaseVariables(environment),
      ...blobVariables(environment),
      ...operatorVariables(environment),
    ],
    ports: { metrics: ports.workerMetrics },
    probes: {
      startupProbe: probe('/livez', 'metrics', {
        periodSeconds: 2,
        failureThreshold: 450,
        timeoutSeconds: 5,
      }),
      livenessProbe: probe('/livez', 'metrics', {
        periodSeconds: 20,
        failureThreshold: 3,
        timeoutSeconds: 10,
      }),
      readinessProbe: probe('/livez', 'metrics', {
        periodSeconds: 10,
        failureThreshold: 3,
        timeoutSeconds: 5,
      }),
    },
    volumes: [dataFolder(environment)],
    annotations: { 'fededge.dev/configuration': contentHash(configurationOf(environment)).slice(0, 10) },
    pod: {
      terminationGracePeriodSeconds: GRACE_SECONDS,
      topologySpreadConstraints: spread(selectorOf('worker')),
    },
  });
}
