import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';
import { backupPod } from '../../workloads/backup-pod.ts';

/** Writes database, blobs and keys to one file of its volume, named by the run, while everything goes on. */
export function backup(chart: Chart, environment: Environment): void {
  const { backup } = environment.settings;
  if (!backup) return;
  new k8s.KubeCronJob(chart, 'backup', {
    metadata: { name: names.backup, labels: labelsOf(environment, 'backup') },
    spec: {
      schedule: backup.schedule,
      timeZone: 'Etc/UTC',
      concurrencyPolicy: 'Forbid',
      startingDeadlineSeconds: 3600,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 3,
      jobTemplate: {
        spec: { backoffLimit: 1, activeDeadlineSeconds: 14_400, template: backupPod(environment) },
      },
    },
  });
}
