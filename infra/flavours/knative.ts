import type { IService } from '@kubernetes-models/knative/serving.knative.dev/v1';
import type { IDomainMapping } from '@kubernetes-models/knative/serving.knative.dev/v1beta1';
import type { Environment } from '../environment.ts';
import { type Chart, k8s } from '../kubernetes.ts';
import { labelsOf, names, ports, selectorOf } from '../names.ts';
import { apiPod } from '../workloads/api-pod.ts';
import { addObject } from './typed-object.ts';

/** Knative's own upper limit; a device that waits takes one of them. */
const CONCURRENCY = 1000;
/** Longer than a poll of 60 s. */
const FIRST_BYTE_SECONDS = 90;
/** Knative's upper limit: an upload of the largest update over a slow line. */
const REQUEST_SECONDS = 600;

/**
 * The API as a Knative Service: no pod while nobody calls. A device that waits is a call, so this is for federations
 * whose devices come now and then, at night for instance. The worker stays: rounds end while no device looks.
 */
export function knative(chart: Chart, environment: Environment): void {
  const { flavours, api, blobs, exposure, publicUrl } = environment.settings;
  if (!flavours.knative) return;
  if (blobs.kind !== 's3') throw new Error('flavours.knative: blobs have to be in S3');
  if (exposure.kind !== 'service') throw new Error('flavours.knative: Knative itself exposes publicUrl');
  const labels = labelsOf(environment, 'api');
  const service: IService = {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata: {
      name: names.api,
      labels: { ...labels, 'networking.knative.dev/visibility': 'cluster-local' },
    },
    spec: {
      template: {
        metadata: {
          labels,
          annotations: {
            'autoscaling.knative.dev/min-scale': '0',
            'autoscaling.knative.dev/max-scale': String(api.autoscaling?.max ?? 4 * api.replicas),
            'autoscaling.knative.dev/metric': 'concurrency',
            'autoscaling.knative.dev/target-utilization-percentage': '70',
            'autoscaling.knative.dev/scale-to-zero-pod-retention-period': '2m',
          },
        },
        spec: {
          containerConcurrency: CONCURRENCY,
          timeoutSeconds: REQUEST_SECONDS,
          responseStartTimeoutSeconds: FIRST_BYTE_SECONDS,
          idleTimeoutSeconds: FIRST_BYTE_SECONDS,
          ...podSpec(environment),
        },
      },
    },
  };
  addObject(chart, service);
  const { hostname } = new URL(publicUrl);
  if (!hostname.endsWith('.svc')) addObject(chart, domain(environment, hostname));
  addPolicy(chart, environment);
}

function domain(environment: Environment, hostname: string): IDomainMapping {
  return {
    apiVersion: 'serving.knative.dev/v1beta1',
    kind: 'DomainMapping',
    metadata: { name: hostname, labels: labelsOf(environment, 'api') },
    spec: { ref: { apiVersion: 'serving.knative.dev/v1', kind: 'Service', name: names.api } },
  };
}

/**
 * The API's pod, less what Knative decides by itself (ports, draining, where pods run) or does not allow. It takes the
 * settings of the container, not those of the pod.
 */
function podSpec(environment: Environment) {
  const { spec } = k8s.toJson_PodTemplateSpec(apiPod(environment))!;
  const { fsGroup: _, fsGroupChangePolicy: __, ...user } = spec.securityContext;
  const [{ lifecycle: ___, startupProbe, livenessProbe, readinessProbe, ...container }] = spec.containers;
  return {
    serviceAccountName: spec.serviceAccountName,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    ...(spec.imagePullSecrets && { imagePullSecrets: spec.imagePullSecrets }),
    containers: [
      {
        ...container,
        ports: [{ name: 'http1', containerPort: ports.http }],
        startupProbe: withoutPort(startupProbe),
        livenessProbe: withoutPort(livenessProbe),
        readinessProbe: withoutPort(readinessProbe),
        securityContext: { ...user, ...container.securityContext },
      },
    ],
    volumes: spec.volumes,
  };
}

function withoutPort<T extends { httpGet: { path: string } }>(probe: T): T {
  return { ...probe, httpGet: { path: probe.httpGet.path } };
}

/** Requests come by Knative's proxies, and its autoscaler asks each pod how much it has to do. */
function addPolicy(chart: Chart, environment: Environment): void {
  const proxy = { http: 8012, https: 8112, metrics: 9090 };
  new k8s.KubeNetworkPolicy(chart, 'policy', {
    metadata: { name: 'knative', labels: labelsOf(environment) },
    spec: {
      podSelector: { matchLabels: selectorOf('api') },
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: ['knative-serving', 'kourier-system'].map((name) => ({
            namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
          })),
          ports: Object.values(proxy).map((port) => ({ port: k8s.IntOrString.fromNumber(port) })),
        },
      ],
    },
  });
}
