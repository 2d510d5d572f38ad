import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';

/** What models/ and runs/ say, as the API reads it: a commit changes it, every replica follows within 30 s. */
export function catalog(chart: Chart, environment: Environment): void {
  const models = environment.models.map(({ document }) => document);
  const runs = environment.runs.map(({ name, document }) => ({ name, ...document }));
  new k8s.KubeConfigMap(chart, 'catalog', {
    metadata: { name: names.catalog, labels: labelsOf(environment) },
    data: { 'catalog.json': `${JSON.stringify({ models, runs }, null, 2)}\n` },
  });
}
