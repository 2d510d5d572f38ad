import type { IScaledObject, IScaledObjectSpec } from '@kubernetes-models/keda/keda.sh/v1alpha1';
import type { Environment } from '../environment.ts';
import type { Chart } from '../kubernetes.ts';
import { labelsOf, names } from '../names.ts';
import { prometheusUrl } from './prometheus.ts';
import { addObject } from './typed-object.ts';

/** What one pod is meant to bear. Above it, there is another. */
const FOLDS_A_WORKER = 200;
const REQUESTS_A_SECOND = 300;
const WAITING_DEVICES = 3000;
const SECONDS = { poll: 15, cooldown: 300 };
const MOST_WORKERS = 8;

/** KEDA in the place of the HorizontalPodAutoscaler: workers by what waits to be folded, the API by what it is asked. */
export function keda(chart: Chart, environment: Environment): void {
  const { flavours, api, worker, database, namespace } = environment.settings;
  if (!flavours.keda) return;
  if (database.kind === 'embedded') throw new Error('flavours.keda: an embedded database has one pod');
  const serverAddress = prometheusUrl(environment);
  const trigger = (name: string, query: string, threshold: number) => ({
    type: 'prometheus',
    name,
    // A metric that is not there is no zero: the fallback holds the replicas, and the object is Degraded.
    metadata: { serverAddress, query, threshold: String(threshold), ignoreNullValues: 'false' },
  });

  addScaling(chart, environment, 'worker', {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: names.worker },
    // Never to zero: without a worker no round ends.
    minReplicaCount: Math.max(1, worker.replicas),
    maxReplicaCount: Math.max(MOST_WORKERS, worker.replicas),
    triggers: [
      // Every process tells the same number.
      trigger('pending-folds', `max(fededge_pending_folds{namespace="${namespace}"})`, FOLDS_A_WORKER),
    ],
  });
  if (flavours.knative) return;
  addScaling(chart, environment, 'api', {
    scaleTargetRef: flavours.argoRollouts
      ? { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', name: names.api }
      : { apiVersion: 'apps/v1', kind: 'Deployment', name: names.api },
    minReplicaCount: api.replicas,
    maxReplicaCount: api.autoscaling?.max ?? 4 * api.replicas,
    triggers: [
      trigger(
        'requests',
        `sum(rate(fededge_http_request_seconds_count{namespace="${namespace}"}[1m]))`,
        REQUESTS_A_SECOND,
      ),
      trigger('waiting-devices', `sum(fededge_waiting_devices{namespace="${namespace}"})`, WAITING_DEVICES),
    ],
  });
}

function addScaling(
  chart: Chart,
  environment: Environment,
  component: 'api' | 'worker',
  spec: IScaledObjectSpec & { minReplicaCount: number },
): void {
  const scaledObject: IScaledObject = {
    apiVersion: 'keda.sh/v1alpha1',
    kind: 'ScaledObject',
    metadata: { name: names[component], labels: labelsOf(environment, component) },
    spec: {
      pollingInterval: SECONDS.poll,
      cooldownPeriod: SECONDS.cooldown,
      fallback: { failureThreshold: 4, replicas: spec.minReplicaCount, behavior: 'currentReplicasIfHigher' },
      advanced: {
        horizontalPodAutoscalerConfig: {
          name: names[component],
          behavior: { scaleDown: { stabilizationWindowSeconds: SECONDS.cooldown } },
        },
      },
      ...spec,
    },
  };
  addObject(chart, scaledObject);
}
