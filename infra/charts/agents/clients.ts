import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names, selectorOf } from '../../names.ts';
import { type Placement, place } from '../../placement.ts';
import { agentPod } from '../../workloads/agent-pod.ts';

const CLIENT = 'fededge.dev/client';

/** So many agents as were asked for, on the nodes where they see most of the data. */
export function clients(chart: Chart, environment: Environment): void {
  const { clients } = environment.settings;
  if (!clients) return;
  const { placed, missing, covered, coverable } = place(clients);
  for (const each of placed) addClient(chart, environment, each);
  new k8s.KubeConfigMap(chart, 'placement', {
    metadata: { name: `${names.app}-placement`, labels: labelsOf(environment, 'agent') },
    data: {
      asked: String(clients.agents),
      missing: String(missing),
      coverage: `${covered} of ${coverable} examples`,
      placed: placed.map(({ candidate, node }) => `${candidate.name} ${node.name}\n`).join(''),
    },
  });
}

/** One Deployment for each: its data is its own, so it is not one of many. */
function addClient(
  chart: Chart,
  environment: Environment,
  { candidate, node }: Placement['placed'][number],
): void {
  const own = { [CLIENT]: candidate.name };
  new k8s.KubeDeployment(chart, candidate.name, {
    metadata: {
      name: `${names.agent}-${candidate.name}`,
      labels: { ...labelsOf(environment, 'agent'), ...own },
    },
    spec: {
      replicas: 1,
      // One device, one key: never two of them.
      strategy: { type: 'Recreate' },
      selector: { matchLabels: { ...selectorOf('agent'), ...own } },
      template: agentPod(environment, {
        resources: { cpu: `${candidate.cpuMillis}m`, memory: `${candidate.memoryMb}Mi` },
        tokenKey: candidate.tokenKey ?? 'clients',
        dataClaim: candidate.claim,
        labels: own,
        pod: { affinity: onNode(node.name) },
      }),
    },
  });
}

function onNode(name: string): k8s.Affinity {
  const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'In', values: [name] }];
  return {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] },
    },
  };
}
