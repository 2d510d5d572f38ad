import type { Environment } from '../environment.ts';
import { type Chart, k8s } from '../kubernetes.ts';
import { labelsOf, names, selectorOf } from '../names.ts';
import type { AgentClass } from '../settings.ts';
import { agentPod } from '../workloads/agent-pod.ts';
import { addObject } from './typed-object.ts';

type PodJson = NonNullable<ReturnType<typeof k8s.toJson_PodTemplateSpec>>;
type Variable = { name: string; value?: string };

const HOST = 'kubernetes.io/hostname';

/**
 * Agents on KubeEdge's nodes, in the place of DaemonSets: a node group for each class of devices, and an application that
 * is unfolded into every group. An edge node reaches no Service of the cloud, so its agents call the public URL.
 */
export function kubeedge(chart: Chart, environment: Environment): void {
  const { flavours, agents = [] } = environment.settings;
  if (!flavours.kubeedge) return;
  for (const each of agents) {
    if (!each.nodeSelector)
      throw new Error(`flavours.kubeedge: agents ${each.name}: which nodes (nodeSelector)?`);
    addObject(chart, nodeGroup(environment, each, each.nodeSelector));
    addObject(chart, edgeApplication(environment, each));
  }
}

const groupName = ({ settings }: Environment, { name }: AgentClass) => `${settings.namespace}-${name}`;

/** It belongs to no namespace, so the namespace is in its name. */
function nodeGroup(environment: Environment, each: AgentClass, matchLabels: Record<string, string>) {
  return {
    apiVersion: 'apps.kubeedge.io/v1alpha1',
    kind: 'NodeGroup',
    metadata: { name: groupName(environment, each), labels: labelsOf(environment, 'agent') },
    spec: { matchLabels },
  };
}

function edgeApplication(environment: Environment, each: AgentClass) {
  const name = `${names.agent}-${each.name}`;
  return {
    apiVersion: 'apps.kubeedge.io/v1alpha1',
    kind: 'EdgeApplication',
    metadata: { name, labels: labelsOf(environment, 'agent') },
    spec: {
      workloadTemplate: { manifests: [deployment(environment, each, name)] },
      workloadScope: {
        targetNodeGroups: [
          { name: groupName(environment, each), overriders: { replicas: each.replicas ?? 1 } },
        ],
      },
    },
  };
}

/** KubeEdge puts the nodes of the group into it. Not two on one node: they would be one device twice. */
function deployment(environment: Environment, each: AgentClass, name: string) {
  const own = { 'fededge.dev/device-class': each.name };
  const matchLabels = { ...selectorOf('agent'), ...own };
  const template = agentPod(environment, {
    resources: each.resources,
    tokenKey: each.tokenKey ?? each.name,
    dataClaim: each.data.claim,
    labels: own,
    pod: {
      affinity: {
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: { matchLabels }, topologyKey: HOST },
          ],
        },
      },
    },
  });
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name,
      namespace: environment.settings.namespace,
      labels: { ...labelsOf(environment, 'agent'), ...own },
    },
    spec: {
      replicas: each.replicas ?? 1,
      selector: { matchLabels },
      // The agent's folder holds its key: the old pod has to be gone.
      strategy: { type: 'Recreate' },
      template: fromOutside(k8s.toJson_PodTemplateSpec(template)!, environment.settings.publicUrl),
    },
  };
}

/** The same pod, calling the API where devices outside the cluster do. */
function fromOutside(template: PodJson, url: string): PodJson {
  const [container, ...others] = template.spec.containers;
  const env = container.env.map((variable: Variable) =>
    variable.name === 'FEDEDGE_URL' ? { ...variable, value: url } : variable,
  );
  return { ...template, spec: { ...template.spec, containers: [{ ...container, env }, ...others] } };
}
