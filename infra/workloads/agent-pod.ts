import type { Environment } from '../environment.ts';
import type { k8s } from '../kubernetes.ts';
import { names, ports } from '../names.ts';
import type { Resources } from '../settings.ts';
import { serviceUrl } from './configuration.ts';
import { podOf, probe } from './pods.ts';
import { claimed, scratchFolder, secretFile } from './volumes.ts';

export interface AgentWork {
  resources: Resources;
  /** Key of the Secret `fededge-agents` with the enrolment token. */
  tokenKey: string;
  /** The claim with <model>.safetensors. */
  dataClaim: string;
  /** So many agents share the data; each takes the part of its pod's index. */
  shards?: number;
  /** Labels of this agent's own pods, beside those of all agents. */
  labels: Record<string, string>;
  pod?: Pick<k8s.PodSpec, 'nodeSelector' | 'affinity'>;
}

/** Whether the cluster runs devices at all. */
export function hasAgents({ settings }: Environment): boolean {
  return settings.agents !== undefined || settings.clients !== undefined || settings.flavours.kubeflow;
}

/** A device in the cluster: it trains on the data that its volume holds, and sees the API alone. */
export function agentPod(environment: Environment, agent: AgentWork): k8s.PodTemplateSpec {
  const template = podOf(environment, {
    component: 'agent',
    args: ['agent'],
    resources: agent.resources,
    env: [
      { name: 'FEDEDGE_URL', value: serviceUrl(environment) },
      { name: 'FEDEDGE_PUBLIC_URL', value: environment.settings.publicUrl },
      { name: 'FEDEDGE_ENROLLMENT_TOKEN_FILE', value: '/etc/fededge/enrollment/token' },
      { name: 'FEDEDGE_AGENT_DIR', value: '/data' },
      { name: 'FEDEDGE_AGENT_DATA', value: '/var/lib/fededge-agent' },
      { name: 'FEDEDGE_AGENT_PORT', value: String(ports.agent) },
      ...shardVariables(agent.shards),
    ],
    ports: { health: ports.agent },
    probes: {
      startupProbe: probe('/livez', 'health', { periodSeconds: 2, failureThreshold: 60, timeoutSeconds: 5 }),
      // It trains on the thread that answers.
      livenessProbe: probe('/livez', 'health', {
        periodSeconds: 30,
        failureThreshold: 10,
        timeoutSeconds: 10,
      }),
      readinessProbe: probe('/readyz', 'health', {
        periodSeconds: 10,
        failureThreshold: 6,
        timeoutSeconds: 10,
      }),
    },
    volumes: [
      scratchFolder,
      claimed('examples', agent.dataClaim, '/var/lib/fededge-agent', true),
      secretFile(
        'enrollment',
        names.agentSecret,
        { key: agent.tokenKey, path: 'token' },
        '/etc/fededge/enrollment',
      ),
    ],
    pod: { terminationGracePeriodSeconds: 30, ...agent.pod },
  });
  return {
    ...template,
    metadata: { ...template.metadata, labels: { ...template.metadata?.labels, ...agent.labels } },
  };
}

function shardVariables(shards: number | undefined): k8s.EnvVar[] {
  if (shards === undefined) return [];
  const fieldPath = "metadata.labels['apps.kubernetes.io/pod-index']";
  return [
    { name: 'POD_INDEX', valueFrom: { fieldRef: { fieldPath } } },
    { name: 'FEDEDGE_AGENT_SHARD', value: `$(POD_INDEX)/${shards}` },
  ];
}
