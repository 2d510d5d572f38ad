import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';

const file = join(import.meta.dirname, '../../observability', 'dashboard.json');

/** Grafana's sidecar loads every ConfigMap with this label. */
export function dashboard(chart: Chart, environment: Environment): void {
  if (!environment.settings.observability.dashboard) return;
  const text = JSON.stringify(JSON.parse(readFileSync(file, 'utf8')));
  new k8s.KubeConfigMap(chart, 'dashboard', {
    metadata: {
      name: `${names.app}-dashboard`,
      labels: { ...labelsOf(environment), grafana_dashboard: '1' },
    },
    data: { 'fededge.json': text },
  });
}
