import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { labelsOf, names, selectorOf } from '../../names.ts';
import type { AgentClass } from '../../settings.ts';
import { agentPod } from '../../workloads/agent-pod.ts';
import { claim } from '../../workloads/volumes.ts';

const CLASS = 'fededge.dev/device-class';

/** Devices that the cluster runs: by class one on every node of a kind, or a number of them. */
export function agents(chart: Chart, environment: Environment): void {
  for (const each of environment.settings.agents ?? []) {
    if (each.data.volume) claim(chart, environment, each.data.claim, each.data.volume);
    // KubeEdge brings them to its nodes itself.
    if (environment.settings.flavours.kubeedge) continue;
    if (each.replicas === undefined) addDaemonSet(chart, environment, each);
    else addStatefulSet(chart, environment, each, each.replicas);
  }
}

function common(environment: Environment, { name }: AgentClass) {
  const own = { [CLASS]: name };
  return {
    metadata: { name: `${names.agent}-${name}`, labels: { ...labelsOf(environment, 'agent'), ...own } },
    selector: { matchLabels: { ...selectorOf('agent'), ...own } },
    own,
  };
}

function addDaemonSet(chart: Chart, environment: Environment, each: AgentClass): void {
  const { metadata, selector } = common(environment, each);
  new k8s.KubeDaemonSet(chart, each.name, {
    metadata,
    spec: {
      selector,
      updateStrategy: {
        type: 'RollingUpdate',
        rollingUpdate: { maxUnavailable: k8s.IntOrString.fromString('25%') },
      },
      template: templateOf(environment, each),
    },
  });
}

/** A pod's index is its shard, and its name stays when it is replaced. */
function addStatefulSet(chart: Chart, environment: Environment, each: AgentClass, replicas: number): void {
  const { metadata, selector } = common(environment, each);
  new k8s.KubeStatefulSet(chart, each.name, {
    metadata,
    spec: {
      replicas,
      serviceName: metadata.name,
      podManagementPolicy: 'Parallel',
      selector,
      template: templateOf(environment, each),
      ...(each.state && { volumeClaimTemplates: [stateOf(each.state)] }),
    },
  });
}

function templateOf(environment: Environment, each: AgentClass): k8s.PodTemplateSpec {
  return agentPod(environment, {
    resources: each.resources,
    tokenKey: each.tokenKey ?? each.name,
    dataClaim: each.data.claim,
    ...(each.replicas !== undefined && { shards: each.replicas }),
    labels: common(environment, each).own,
    ...(each.nodeSelector && { pod: { nodeSelector: each.nodeSelector } }),
  });
}

/** It takes the place of the pod's scratch folder of the same name. */
function stateOf({
  size,
  storageClass,
}: NonNullable<AgentClass['state']>): k8s.KubePersistentVolumeClaimProps {
  return {
    metadata: { name: 'data' },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: k8s.Quantity.fromString(size) } },
      ...(storageClass !== undefined && { storageClassName: storageClass }),
    },
  };
}
