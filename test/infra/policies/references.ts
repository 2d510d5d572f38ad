import type { KubernetesObject } from '../../../infra/manifest-text.ts';
import { at, drop, ofKind } from '../support/objects.ts';
import { containersOf, type Labels, nameOf, podsOf, selects } from '../support/pods.ts';
import { changing, type Policy, podPolicy } from '../support/policy.ts';
import type { World } from '../support/worlds.ts';

const has = ({ objects }: World, kind: string, name: unknown): boolean =>
  objects.some((object) => object.kind === kind && object.metadata.name === name);

/** Secrets that there are: by hand where the settings say so, by External Secrets, by CloudNativePG. */
function hasSecret(world: World, name: string): boolean {
  const { secret, flavours } = world.environment.settings;
  if (flavours.kubeflow && name === 'fededge-pipelines') return true;
  const isByHand = secret.kind === 'existing' && /^fededge(-release|-agents)?$/.test(name);
  return isByHand || has(world, 'ExternalSecret', name) || has(world, 'Cluster', name.replace(/-app$/, ''));
}

/** Claims that there are: ours, and those that settings name as existing. */
function hasClaim(world: World, name: string): boolean {
  const { agents = [], clients, flavours } = world.environment.settings;
  const existing = [
    ...agents.filter(({ data }) => !data.volume).map(({ data }) => data.claim),
    ...(clients?.candidates.map(({ claim }) => claim) ?? []),
    ...(flavours.kubeflow ? ['fededge-warm-start'] : []),
  ];
  return has(world, 'PersistentVolumeClaim', name) || existing.includes(name);
}

function each(kinds: string[], what: (object: KubernetesObject, world: World) => string | false) {
  return (world: World): string[] =>
    ofKind(world, ...kinds).flatMap((object) => {
      const fault = what(object, world);
      return fault ? [`${nameOf(object)}: ${fault}`] : [];
    });
}

const workloads = ['Deployment', 'StatefulSet', 'DaemonSet'];
const labelsAt = (object: unknown, path: string) => (at(object, path) ?? {}) as Labels;

/** Names that objects call each other by. */
export const references: readonly Policy[] = [
  podPolicy(
    'ConfigMaps that pods read are there',
    (pod, world) => {
      const volumes = pod.spec.volumes?.flatMap(({ configMap }) => (configMap ? [configMap] : [])) ?? [];
      const sources = containersOf(pod).flatMap(({ envFrom = [] }) =>
        envFrom.map(({ configMapRef }) => configMapRef),
      );
      return [...volumes, ...sources]
        .filter((source) => source && !has(world, 'ConfigMap', source.name))
        .map((source) => source?.name)
        .join();
    },
    (spec) => Object.assign(spec.containers[0]!, { envFrom: [{ configMapRef: { name: 'other' } }] }),
  ),
  podPolicy(
    'Secrets that pods read will be there',
    (pod, world) => {
      const volumes = pod.spec.volumes?.flatMap(({ secret }) => (secret ? [secret.secretName!] : [])) ?? [];
      const variables = containersOf(pod).flatMap(({ env = [] }) =>
        env.flatMap(({ valueFrom }) => (valueFrom?.secretKeyRef ? [valueFrom.secretKeyRef.name!] : [])),
      );
      return [...volumes, ...variables].filter((name) => !hasSecret(world, name)).join();
    },
    (spec) => spec.volumes!.push({ name: 'other', secret: { secretName: 'other' } }),
  ),
  podPolicy(
    'claims that pods mount are there',
    ({ spec }, world) =>
      spec.volumes
        ?.flatMap(({ persistentVolumeClaim }) =>
          persistentVolumeClaim ? [persistentVolumeClaim.claimName] : [],
        )
        .filter((name) => !hasClaim(world, name))
        .join(),
    (spec) => spec.volumes!.push({ name: 'other', persistentVolumeClaim: { claimName: 'other' } }),
  ),
  {
    name: 'a workload selects the pods that it makes, and no other’s',
    violations: (world) =>
      ofKind(world, ...workloads).flatMap((object) => {
        const selector = labelsAt(object, 'spec.selector.matchLabels');
        const owners = podsOf(ofKind(world, ...workloads)).filter(({ labels }) => selects(selector, labels));
        return owners.length === 1 && owners[0]?.owner === object ? [] : [nameOf(object)];
      }),
    breakIt: changing('Deployment', 'fededge-worker', 'spec.selector.matchLabels', {
      'app.kubernetes.io/name': 'fededge',
    }),
  },
  {
    name: 'a Service has pods behind it, with the port that it names',
    violations: (world) =>
      world.objects
        .filter(({ apiVersion, kind }) => apiVersion === 'v1' && kind === 'Service')
        .flatMap((service) => {
          const pods = podsOf(world.objects).filter(({ labels }) =>
            selects(labelsAt(service, 'spec.selector'), labels),
          );
          const ports = pods.flatMap((pod) =>
            containersOf(pod).flatMap((container) => container.ports ?? []),
          );
          const wanted = (at(service, 'spec.ports') as { targetPort: string }[] | undefined) ?? [];
          const missing = wanted.filter(({ targetPort }) => !ports.some(({ name }) => name === targetPort));
          return pods.length > 0 && missing.length === 0 ? [] : [nameOf(service)];
        }),
    breakIt: changing('Service', 'fededge-api', 'spec.ports.0.targetPort', 'web'),
  },
  {
    name: 'what scales has something to scale, whose number git does not fix',
    violations: each(['HorizontalPodAutoscaler', 'ScaledObject'], (object, world) => {
      const { kind, name } = at(object, 'spec.scaleTargetRef') as { kind: string; name: string };
      const target = ofKind(world, kind).find(({ metadata }) => metadata.name === name);
      return !target
        ? `no ${kind}/${name}`
        : at(target, 'spec.replicas') !== undefined && 'replicas are fixed';
    }),
    breakIt: changing('HorizontalPodAutoscaler', 'fededge-api', 'spec.scaleTargetRef.name', 'api'),
  },
  {
    name: 'one thing scales a workload, not two',
    violations: (world) => {
      const targets = ofKind(world, 'HorizontalPodAutoscaler', 'ScaledObject').map((object) =>
        JSON.stringify(at(object, 'spec.scaleTargetRef')),
      );
      return targets.filter((target, index) => targets.indexOf(target) !== index);
    },
    breakIt: (world) => {
      world.objects.push(...structuredClone(ofKind(world, 'HorizontalPodAutoscaler')));
    },
  },
  {
    name: 'an autoscaler goes from two up',
    violations: each(['HorizontalPodAutoscaler'], (object) => {
      const [least, most] = [at(object, 'spec.minReplicas'), at(object, 'spec.maxReplicas')] as number[];
      return !(least! >= 2 && most! > least!) && `${least} to ${most}`;
    }),
    breakIt: changing('HorizontalPodAutoscaler', 'fededge-api', 'spec.minReplicas', 1),
  },
  {
    name: 'a disruption budget selects pods',
    violations: each(['PodDisruptionBudget'], (object, world) => {
      const selector = labelsAt(object, 'spec.selector.matchLabels');
      return !podsOf(world.objects).some(({ labels }) => selects(selector, labels)) && 'selects nothing';
    }),
    breakIt: changing('PodDisruptionBudget', 'fededge-api', 'spec.selector.matchLabels', { app: 'api' }),
  },
  {
    name: 'monitors select what serves metrics',
    violations: each(['ServiceMonitor', 'PodMonitor'], (object, world) => {
      const selector = labelsAt(object, 'spec.selector.matchLabels');
      const labelled =
        object.kind === 'ServiceMonitor'
          ? ofKind(world, 'Service').map(({ metadata }) => metadata.labels ?? {})
          : podsOf(world.objects).map(({ labels }) => labels);
      return !labelled.some((labels) => selects(selector, labels)) && 'selects nothing';
    }),
    breakIt: changing('PodMonitor', 'fededge-worker', 'spec.selector.matchLabels', { app: 'worker' }),
  },
  {
    name: 'routes from outside lead to a port of a Service',
    violations: each(['Ingress', 'HTTPRoute'], (object, world) => {
      const names = [
        ...JSON.stringify(object.spec).matchAll(/"(?:service|backendRefs)":\[?{"name":"([^"]+)"/g),
      ];
      const missing = names.filter(([, name]) => !has(world, 'Service', name));
      return (names.length === 0 || missing.length > 0) && 'no such Service';
    }),
    breakIt: (world) => drop(world, 'Service', 'fededge-api'),
  },
  {
    name: 'labels of pods carry what selects them',
    violations: (world) =>
      podsOf(world.objects)
        .filter(({ labels }) => !labels['app.kubernetes.io/name'] || !labels['app.kubernetes.io/component'])
        .map(({ name }) => name),
    breakIt: changing('Deployment', 'fededge-api', 'spec.template.metadata.labels', {}),
  },
  {
    name: 'pods that read the configuration are rolled when it changes',
    violations: (world) =>
      ofKind(world, 'Deployment')
        .filter((object) => JSON.stringify(object).includes('configMapRef'))
        .filter(
          (object) => !labelsAt(object, 'spec.template.metadata.annotations')['fededge.dev/configuration'],
        )
        .map(nameOf),
    breakIt: changing('Deployment', 'fededge-worker', 'spec.template.metadata.annotations', {}),
  },
];
