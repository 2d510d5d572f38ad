import { contentHash } from '../../catalog/content-hash.ts';
import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';
import { migratePod } from '../../workloads/migrate-pod.ts';

/**
 * Brings the database to this version's schema before the new pods come. Running it twice, or twice at once, does no
 * harm: it takes an advisory lock. Migrations expand, so the old pods go on meanwhile.
 */
export function migration(chart: Chart, environment: Environment): void {
  if (environment.settings.database.kind === 'embedded') return;
  const template = migratePod(environment);
  new k8s.KubeJob(chart, 'migration', {
    metadata: {
      name: `${names.migrate}-${contentHash(k8s.toJson_PodTemplateSpec(template)).slice(0, 10)}`,
      labels: labelsOf(environment, 'migrate'),
      annotations: {
        'argocd.argoproj.io/hook': 'PreSync',
        'argocd.argoproj.io/hook-delete-policy': 'BeforeHookCreation',
      },
    },
    spec: { backoffLimit: 5, activeDeadlineSeconds: 1800, ttlSecondsAfterFinished: 86_400, template },
  });
}
