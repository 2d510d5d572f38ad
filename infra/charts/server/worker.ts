import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names, selectorOf } from '../../names.ts';
import { progressSeconds } from '../../workloads/pods.ts';
import { workerPod } from '../../workloads/worker-pod.ts';

/** The round clock and the aggregation. Leases share the rounds out, so old and new ones may run side by side. */
export function worker(chart: Chart, environment: Environment): void {
  const { worker, database, flavours } = environment.settings;
  if (database.kind === 'embedded') return;
  const labels = labelsOf(environment, 'worker');
  new k8s.KubeDeployment(chart, 'deployment', {
    metadata: { name: names.worker, labels },
    spec: {
      ...(!flavours.keda && { replicas: worker.replicas }),
      revisionHistoryLimit: 3,
      progressDeadlineSeconds: progressSeconds(environment),
      selector: { matchLabels: selectorOf('worker') },
      strategy: {
        type: 'RollingUpdate',
        rollingUpdate: {
          maxSurge: k8s.IntOrString.fromNumber(1),
          maxUnavailable: k8s.IntOrString.fromNumber(0),
        },
      },
      template: workerPod(environment),
    },
  });
  new k8s.KubePodDisruptionBudget(chart, 'disruption-budget', {
    metadata: { name: names.worker, labels },
    spec: {
      // A round waits for the next worker; a drained node should not wait for the round.
      maxUnavailable: k8s.IntOrString.fromNumber(1),
      unhealthyPodEvictionPolicy: 'AlwaysAllow',
      selector: { matchLabels: selectorOf('worker') },
    },
  });
}
