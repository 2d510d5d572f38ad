import type { IHTTPRoute } from '@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1';
import type { Environment } from '../../environment.ts';
import { addObject } from '../../flavours/typed-object.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names, ports } from '../../names.ts';
import type { ExposureSettings } from '../../settings.ts';

type Exposure<K extends ExposureSettings['kind']> = Extract<ExposureSettings, { kind: K }>;

/** Paths that the world sees. Metrics, health and the rest stay inside. */
const paths = ['/v1', '/.well-known', '/openapi.json', '/docs'];

/** How devices reach the API from outside. */
export function exposure(chart: Chart, environment: Environment): void {
  const { exposure } = environment.settings;
  if (exposure.kind === 'ingress') addIngress(chart, environment, exposure);
  if (exposure.kind === 'gateway') addRoute(chart, environment, exposure);
}

function addIngress(chart: Chart, environment: Environment, exposure: Exposure<'ingress'>): void {
  const { host, className, tlsSecret, annotations } = exposure;
  const backend = { service: { name: names.api, port: { name: 'http' } } };
  new k8s.KubeIngress(chart, 'ingress', {
    metadata: {
      name: names.api,
      labels: labelsOf(environment, 'api'),
      ...(annotations && { annotations }),
    },
    spec: {
      ingressClassName: className,
      tls: [{ hosts: [host], secretName: tlsSecret }],
      rules: [{ host, http: { paths: paths.map((path) => ({ path, pathType: 'Prefix', backend })) } }],
    },
  });
}

function addRoute(chart: Chart, environment: Environment, { host, gateway }: Exposure<'gateway'>): void {
  const { name, namespace, listener } = gateway;
  const route: IHTTPRoute = {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: names.api, labels: labelsOf(environment, 'api') },
    spec: {
      parentRefs: [{ name, namespace, ...(listener && { sectionName: listener }) }],
      hostnames: [host],
      rules: [
        {
          matches: paths.map((value) => ({ path: { type: 'PathPrefix', value } })),
          backendRefs: [{ name: names.api, port: ports.service }],
          // Longer than a poll, and than an upload of the largest update over a slow line.
          timeouts: { request: '600s', backendRequest: '600s' },
        },
      ],
    },
  };
  addObject(chart, route);
}
