import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';
import { configurationOf } from '../../workloads/configuration.ts';

/** What the server is told that is no secret. Pods carry its hash: a change rolls them. */
export function configuration(chart: Chart, environment: Environment): void {
  new k8s.KubeConfigMap(chart, 'configuration', {
    metadata: { name: names.config, labels: labelsOf(environment) },
    data: configurationOf(environment),
  });
}
