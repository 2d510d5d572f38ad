import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { contentHash } from '../catalog/content-hash.ts';
import type { Environment } from '../environment.ts';
import { federationPipeline } from '../kubeflow/pipeline.ts';
import { type Chart, k8s, Yaml } from '../kubernetes.ts';
import { imageOf, labelsOf } from '../names.ts';
import { agentPod } from '../workloads/agent-pod.ts';
import { serviceUrl } from '../workloads/configuration.ts';
import { resourcesOf } from '../workloads/pods.ts';
import { objectName } from './served-releases.ts';
import { addObject } from './typed-object.ts';

const script = readFileSync(join(import.meta.dirname, '../kubeflow/run-federation.mjs'), 'utf8');
/** With an operator's key that may start runs (`operator-key`), and an enrolment token (`enrollment-token`). */
const secret = { name: 'fededge-pipelines', folder: '/etc/fededge/operator', key: 'operator-key' };
const OPERATOR_KEY = { key: secret.key, path: secret.key };
const RUNTIME = 'fededge-agents';
/** With <model>.safetensors; each node takes its part of the examples. */
const DATA_CLAIM = 'fededge-warm-start';
const NODES = 4;
const ROUNDS = 3;

/**
 * Kubeflow. Trainer 2: for each run file a TrainJob that trains the model on data of the centre before devices do. Its
 * nodes are agents in a run of their own, so that a warm start is a federation like any other, and ends with a version.
 * Pipelines 2: a pipeline (and component) that runs a federation, in a ConfigMap for `kfp pipeline create`.
 */
export function kubeflow(chart: Chart, environment: Environment): void {
  const { flavours } = environment.settings;
  if (!flavours.kubeflow) return;
  const [spec, platform] = federationPipeline({ image: imageOf(environment), script, secret });
  new k8s.KubeConfigMap(chart, 'pipelines', {
    metadata: { name: 'fededge-pipelines', labels: labelsOf(environment) },
    data: { 'run-federation.yaml': Yaml.stringify(spec, platform) },
  });
  if (environment.runs.length === 0) return;
  addObject(chart, runtime(environment));
  for (const { name, document } of environment.runs) addWarmStart(chart, environment, name, document);
}

/** Another content of the run file is another job: a job's specification cannot be changed. */
function addWarmStart(
  chart: Chart,
  environment: Environment,
  name: string,
  document: Record<string, unknown>,
): void {
  const { schedule: _, quorum: __, capacity: ___, rounds: ____, ...rest } = document;
  const run = { ...rest, name: `warm start: ${name}`, rounds: ROUNDS, quorum: NODES, capacity: NODES };
  const job = objectName(`warm-start-${name}`, contentHash(run).slice(0, 10));
  addObject(chart, {
    apiVersion: 'trainer.kubeflow.org/v1alpha1',
    kind: 'TrainJob',
    metadata: { name: job, labels: labelsOf(environment) },
    spec: {
      runtimeRef: { apiGroup: 'trainer.kubeflow.org', kind: 'TrainingRuntime', name: RUNTIME },
      trainer: {
        numNodes: NODES,
        args: [
          ...['--url', serviceUrl(environment)],
          ...['--key-file', `${secret.folder}/${secret.key}`],
          ...['--once', job],
          ...['--run', JSON.stringify(run)],
        ],
      },
    },
  });
}

/** A node: an agent beside the container that waits for the run. When the run is over, so is the node. */
function runtime(environment: Environment) {
  const { metadata, spec } = k8s.toJson_PodTemplateSpec(
    agentPod(environment, {
      resources: { cpu: '1', memory: '2Gi' },
      tokenKey: 'enrollment-token',
      dataClaim: DATA_CLAIM,
      labels: { 'fededge.dev/device-class': 'warm-start' },
    }),
  )!;
  const [agent] = spec.containers;
  const shard = { name: 'FEDEDGE_AGENT_SHARD', value: `$(JOB_COMPLETION_INDEX)/${NODES}` };
  const index = {
    name: 'JOB_COMPLETION_INDEX',
    valueFrom: {
      fieldRef: { fieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']" },
    },
  };
  const node = {
    name: 'node',
    image: agent.image,
    imagePullPolicy: agent.imagePullPolicy,
    command: ['node', '--input-type=module', '-e', script, '--'],
    resources: k8s.toJson_ResourceRequirements(resourcesOf({ cpu: '50m', memory: '128Mi' })),
    securityContext: agent.securityContext,
    volumeMounts: [{ name: 'operator', mountPath: secret.folder, readOnly: true }],
  };
  const pod = {
    ...spec,
    restartPolicy: 'OnFailure',
    initContainers: [{ ...agent, restartPolicy: 'Always', env: [...agent.env, index, shard] }],
    containers: [node],
    volumes: [
      ...spec.volumes.map((volume: { name: string; secret?: object }) =>
        volume.secret ? { ...volume, secret: { ...volume.secret, secretName: secret.name } } : volume,
      ),
      { name: 'operator', secret: { secretName: secret.name, defaultMode: 0o440, items: [OPERATOR_KEY] } },
    ],
  };
  return {
    apiVersion: 'trainer.kubeflow.org/v1alpha1',
    kind: 'TrainingRuntime',
    metadata: { name: RUNTIME, labels: labelsOf(environment) },
    spec: { mlPolicy: { numNodes: NODES }, template: { spec: { replicatedJobs: [trainer(metadata, pod)] } } },
  };
}

/** The job that Kubeflow takes for the trainer. */
function trainer(metadata: object, pod: object) {
  return {
    name: 'node',
    template: {
      metadata: { labels: { 'trainer.kubeflow.org/trainjob-ancestor-step': 'trainer' } },
      spec: { template: { metadata, spec: pod } },
    },
  };
}
