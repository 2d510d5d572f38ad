import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { Environment } from '../environment.ts';
import { ApiObject, type Chart } from '../kubernetes.ts';
import { labelsOf, names, selectorOf } from '../names.ts';

const rules = join(import.meta.dirname, '..', 'observability', 'rules.yaml');

/** What the Prometheus operator is told: whom to ask, and when to call somebody. */
export function monitoring(chart: Chart, environment: Environment): void {
  if (!environment.settings.observability.monitors) return;
  const isEmbedded = environment.settings.database.kind === 'embedded';
  new ApiObject(chart, 'api', {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'ServiceMonitor',
    metadata: { name: names.api, labels: labelsOf(environment, 'api') },
    spec: {
      selector: { matchLabels: selectorOf('api') },
      endpoints: [{ port: 'http', path: '/metrics', interval: '30s' }],
    },
  });
  if (!isEmbedded) {
    new ApiObject(chart, 'worker', {
      apiVersion: 'monitoring.coreos.com/v1',
      kind: 'PodMonitor',
      metadata: { name: names.worker, labels: labelsOf(environment, 'worker') },
      spec: {
        selector: { matchLabels: selectorOf('worker') },
        podMetricsEndpoints: [{ port: 'metrics', path: '/metrics', interval: '30s' }],
      },
    });
  }
  new ApiObject(chart, 'rules', {
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: names.app, labels: labelsOf(environment) },
    spec: parse(readFileSync(rules, 'utf8')) as object,
  });
}
