import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names, ports, selectorOf } from '../../names.ts';
import { apiPod } from '../../workloads/api-pod.ts';
import { progressSeconds } from '../../workloads/pods.ts';

/** The HTTP API: pods that keep nothing, a Service before them, and what says how many there are. */
export function api(chart: Chart, environment: Environment): void {
  const { flavours } = environment.settings;
  if (!flavours.knative) {
    addDeployment(chart, environment);
    addService(chart, environment);
    addDisruptionBudget(chart, environment);
  }
  if (!flavours.knative && !flavours.keda) addAutoscaler(chart, environment);
}

function addDeployment(chart: Chart, environment: Environment): void {
  const { api, database, flavours } = environment.settings;
  const isAlone = database.kind === 'embedded';
  new k8s.KubeDeployment(chart, 'deployment', {
    metadata: { name: names.api, labels: labelsOf(environment, 'api') },
    spec: {
      // An autoscaler's number, or a Rollout's, is not git's.
      ...(!isScaled(environment) && { replicas: flavours.argoRollouts ? 0 : api.replicas }),
      revisionHistoryLimit: 3,
      progressDeadlineSeconds: progressSeconds(environment),
      selector: { matchLabels: selectorOf('api') },
      strategy: isAlone
        ? { type: 'Recreate' }
        : {
            type: 'RollingUpdate',
            rollingUpdate: {
              maxSurge: k8s.IntOrString.fromNumber(1),
              maxUnavailable: k8s.IntOrString.fromNumber(0),
            },
          },
      template: apiPod(environment),
    },
  });
}

function isScaled({ settings: { api, flavours } }: Environment): boolean {
  return !flavours.argoRollouts && (flavours.keda || api.autoscaling !== undefined);
}

function addService(chart: Chart, environment: Environment): void {
  new k8s.KubeService(chart, 'service', {
    metadata: { name: names.api, labels: labelsOf(environment, 'api') },
    spec: {
      selector: selectorOf('api'),
      ports: [{ name: 'http', port: ports.service, targetPort: k8s.IntOrString.fromString('http') }],
    },
  });
}

function addDisruptionBudget(chart: Chart, environment: Environment): void {
  if (environment.settings.database.kind === 'embedded') return;
  new k8s.KubePodDisruptionBudget(chart, 'disruption-budget', {
    metadata: { name: names.api, labels: labelsOf(environment, 'api') },
    spec: {
      maxUnavailable: k8s.IntOrString.fromNumber(1),
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector: { matchLabels: selectorOf('api') },
    },
  });
}

function addAutoscaler(chart: Chart, environment: Environment): void {
  const { replicas, autoscaling } = environment.settings.api;
  if (!autoscaling) return;
  const { argoRollouts } = environment.settings.flavours;
  new k8s.KubeHorizontalPodAutoscalerV2(chart, 'autoscaler', {
    metadata: { name: names.api, labels: labelsOf(environment, 'api') },
    spec: {
      scaleTargetRef: argoRollouts
        ? { apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', name: names.api }
        : { apiVersion: 'apps/v1', kind: 'Deployment', name: names.api },
      minReplicas: replicas,
      maxReplicas: autoscaling.max,
      metrics: [
        {
          type: 'Resource',
          resource: {
            name: 'cpu',
            target: { type: 'Utilization', averageUtilization: autoscaling.cpuPercent },
          },
        },
      ],
      // A round's uploads come in bursts: grow at once, shrink slowly.
      behavior: {
        scaleUp: {
          stabilizationWindowSeconds: 0,
          policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
        },
        scaleDown: {
          stabilizationWindowSeconds: 300,
          policies: [{ type: 'Pods', value: 1, periodSeconds: 60 }],
        },
      },
    },
  });
}
