import type { Environment } from '../environment.ts';
import { k8s } from '../kubernetes.ts';
import { type Component, imageOf, labelsOf, names, USER } from '../names.ts';
import type { Resources } from '../settings.ts';
import { type Mounted, temporary } from './volumes.ts';

/** What one container of ours adds to what all of them have. */
export interface Work {
  component: Component;
  /** Arguments of the image's one entry. */
  args: readonly string[];
  resources: Resources;
  env?: readonly k8s.EnvVar[];
  /** Whether it reads the ConfigMap with the configuration. */
  configured?: boolean;
  ports?: Record<string, number>;
  probes?: Pick<k8s.Container, 'startupProbe' | 'livenessProbe' | 'readinessProbe'>;
  volumes?: readonly Mounted[];
  annotations?: Record<string, string>;
  pod?: Pick<
    k8s.PodSpec,
    | 'restartPolicy'
    | 'terminationGracePeriodSeconds'
    | 'topologySpreadConstraints'
    | 'nodeSelector'
    | 'affinity'
    | 'tolerations'
  >;
  lifecycle?: k8s.Lifecycle;
}

/**
 * A pod that `restricted` lets in: nobody's user, no capability, no token, a root that cannot be written. /tmp is the
 * only place to write that it has by itself.
 */
export function podOf(environment: Environment, work: Work): k8s.PodTemplateSpec {
  const { pullPolicy, pullSecret } = environment.settings.image;
  const volumes = [temporary, ...(work.volumes ?? [])];
  return {
    metadata: {
      labels: { ...labelsOf(environment, work.component), ...meshLabels(environment, work.component) },
      ...(work.annotations && { annotations: work.annotations }),
    },
    spec: {
      serviceAccountName: `${names.app}-${work.component}`,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      ...(pullSecret && { imagePullSecrets: [{ name: pullSecret }] }),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: USER,
        runAsGroup: USER,
        fsGroup: USER,
        fsGroupChangePolicy: 'OnRootMismatch',
        seccompProfile: { type: 'RuntimeDefault' },
      },
      containers: [
        {
          name: work.component,
          image: imageOf(environment),
          imagePullPolicy: pullPolicy,
          args: [...work.args],
          ...(work.configured && { envFrom: [{ configMapRef: { name: names.config } }] }),
          ...(work.env && { env: [...work.env] }),
          ...(work.ports && { ports: portsOf(work.ports) }),
          ...work.probes,
          ...(work.lifecycle && { lifecycle: work.lifecycle }),
          resources: resourcesOf(work.resources),
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          volumeMounts: volumes.map(({ volume, mount }) => ({ name: volume.name, ...mount })),
        },
      ],
      volumes: volumes.map(({ volume }) => volume),
      ...work.pod,
    },
  };
}

/**
 * How long a rollout of the server may make no progress. After it Kubernetes says so, Argo CD's sync ends as failed, and
 * the commit that mends it has its turn; Kubernetes' own ten minutes would keep it waiting. A pod that is well needs two
 * minutes for its node, image and volumes and the two that the API's startup probe allows. On a site's one node the
 * image comes over the site's line, and not before the old pod has left: there it stays ten.
 */
export function progressSeconds({ settings }: Environment): number {
  return settings.database.kind === 'embedded' ? 600 : 240;
}

function portsOf(ports: Record<string, number>): k8s.ContainerPort[] {
  return Object.entries(ports).map(([name, containerPort]) => ({ name, containerPort }));
}

/** With Istio: who is called, and who calls. The rest speaks to the database alone, which is not in the mesh. */
function meshLabels({ settings }: Environment, component: Component): Record<string, string> {
  const isIn = settings.flavours.istio && ['api', 'worker', 'release', 'agent'].includes(component);
  return isIn ? { 'sidecar.istio.io/inject': 'true' } : {};
}

export function resourcesOf({ cpu, cpuLimit, memory }: Resources): k8s.ResourceRequirements {
  const quantity = k8s.Quantity.fromString;
  return {
    requests: { cpu: quantity(cpu), memory: quantity(memory) },
    limits: { ...(cpuLimit && { cpu: quantity(cpuLimit) }), memory: quantity(memory) },
  };
}

/** An HTTP probe on a named port. */
export function probe(path: string, port: string, timing: Omit<k8s.Probe, 'httpGet'>): k8s.Probe {
  return { httpGet: { path, port: k8s.IntOrString.fromString(port) }, ...timing };
}

/** Over nodes and zones, as far as there are some. */
export function spread(matchLabels: Record<string, string>): k8s.TopologySpreadConstraint[] {
  return ['kubernetes.io/hostname', 'topology.kubernetes.io/zone'].map((topologyKey) => ({
    maxSkew: 1,
    topologyKey,
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels },
  }));
}
