import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type {
  IPodMonitor,
  IPrometheusRule,
  IServiceMonitor,
} from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1';
import { parse } from 'yaml';
import type { Environment } from '../../environment.ts';
import { addObject } from '../../flavours/typed-object.ts';
import type { Chart } from '../../kubernetes.ts';
import { labelsOf, names, selectorOf } from '../../names.ts';

const apiVersion = 'monitoring.coreos.com/v1';
const endpoint = { path: '/metrics', interval: '30s' } as const;
const file = join(import.meta.dirname, '../../observability', 'rules.yaml');

/** What the Prometheus operator is told: whom to ask, and when to call somebody. */
export function monitoring(chart: Chart, environment: Environment): void {
  const { observability, database } = environment.settings;
  if (!observability.monitors) return;
  const api: IServiceMonitor = {
    apiVersion,
    kind: 'ServiceMonitor',
    metadata: { name: names.api, labels: labelsOf(environment, 'api') },
    spec: {
      selector: { matchLabels: selectorOf('api') },
      endpoints: [{ port: 'http', ...endpoint }],
    },
  };
  const worker: IPodMonitor = {
    apiVersion,
    kind: 'PodMonitor',
    metadata: { name: names.worker, labels: labelsOf(environment, 'worker') },
    spec: {
      selector: { matchLabels: selectorOf('worker') },
      podMetricsEndpoints: [{ port: 'metrics', ...endpoint }],
    },
  };
  const rules: IPrometheusRule = {
    apiVersion,
    kind: 'PrometheusRule',
    metadata: { name: names.app, labels: labelsOf(environment) },
    spec: parse(readFileSync(file, 'utf8')) as NonNullable<IPrometheusRule['spec']>,
  };
  addObject(chart, api);
  if (database.kind !== 'embedded') addObject(chart, worker);
  addObject(chart, rules);
}
