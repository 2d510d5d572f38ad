import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf } from '../../names.ts';

/** The namespace, in which nothing runs that is not `restricted`. */
export function namespace(chart: Chart, environment: Environment): void {
  const levels = ['enforce', 'audit', 'warn'].map((mode) => [
    `pod-security.kubernetes.io/${mode}`,
    'restricted',
  ]);
  new k8s.KubeNamespace(chart, 'namespace', {
    metadata: {
      name: environment.settings.namespace,
      labels: { ...labelsOf(environment), ...Object.fromEntries(levels) },
    },
  });
}
