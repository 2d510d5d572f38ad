import { contentHash } from '../../catalog/content-hash.ts';
import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';
import { releasePod } from '../../workloads/release-pod.ts';

/** The first cohort is reached at once, but its devices have to report: the gate wants to see them. */
const PATIENCE_SECONDS = 3600;

/**
 * A Job for each release: it changes nothing, waits until the first cohort has the version and the gate holds, and fails
 * otherwise. Its name is its content's, as a Job cannot be changed: another file, or another image, is a new Job.
 */
export function releases(chart: Chart, environment: Environment): void {
  for (const { name, document } of environment.models) {
    const content = contentHash(document);
    const template = releasePod(environment, { model: name, content, patienceSeconds: PATIENCE_SECONDS });
    new k8s.KubeJob(chart, name, {
      metadata: {
        name: jobName(name, contentHash(k8s.toJson_PodTemplateSpec(template))),
        labels: {
          ...labelsOf(environment, 'release'),
          'fededge.dev/model': name.slice(0, 63),
          'fededge.dev/content': content.slice(0, 10),
        },
      },
      spec: {
        backoffLimit: 3,
        activeDeadlineSeconds: PATIENCE_SECONDS + 120,
        // Exit code 1 is an answer; a pod that was evicted has none.
        podFailurePolicy: {
          rules: [
            {
              action: 'FailJob',
              onExitCodes: { containerName: 'release', operator: 'In', values: [1] },
              onPodConditions: [],
            },
            { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
          ],
        },
        template,
      },
    });
  }
}

/** At most 63 characters, as a pod's name is made of it. */
function jobName(model: string, hash: string): string {
  return `${names.release}-${model.slice(0, 30).replace(/-+$/, '')}-${hash.slice(0, 10)}`;
}
