import type { KubernetesObject } from '../../../infra/manifest-text.ts';
import { at, ofKind, pick } from '../support/objects.ts';
import { nameOf } from '../support/pods.ts';
import { changing, type Policy } from '../support/policy.ts';

const clusterWide = ['Namespace', 'PersistentVolume', 'NodeGroup'];
const dnsLabel = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const dnsName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const labelValue = /^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

const every = (
  name: string,
  isFaulty: (object: KubernetesObject) => unknown,
  breakIt: Policy['breakIt'],
): Policy => ({
  name,
  violations: ({ objects }) => objects.filter(isFaulty).map(nameOf),
  breakIt,
});

/** What holds for every object. */
export const objects: readonly Policy[] = [
  every(
    'names are DNS labels (of a domain mapping and of volumes: names)',
    ({ kind, metadata }) =>
      !(['DomainMapping', 'PersistentVolume'].includes(kind) ? dnsName : dnsLabel).test(metadata.name),
    changing('Service', 'fededge-api', 'metadata.name', 'FedEdge_API'),
  ),
  {
    name: 'no two objects have one name',
    violations: ({ objects }) => {
      const ids = objects.map((object) => `${object.apiVersion} ${nameOf(object)}`);
      return ids.filter((id, index) => ids.indexOf(id) !== index);
    },
    breakIt: (world) => {
      world.objects.push(structuredClone(pick(world, 'Service', 'fededge-api')));
    },
  },
  {
    name: 'everything is in the environment’s namespace, or in none where its kind has none',
    violations: ({ environment, objects }) =>
      objects
        // K3s reads this kind in its own namespace alone.
        .filter(({ kind }) => kind !== 'HelmChartConfig')
        .filter(({ kind, metadata }) =>
          clusterWide.includes(kind)
            ? metadata.namespace !== undefined
            : metadata.namespace !== environment.settings.namespace,
        )
        .map(nameOf),
    breakIt: changing('Service', 'fededge-api', 'metadata.namespace', 'default'),
  },
  {
    name: 'everything says of what it is part, and of which version',
    violations: ({ environment, objects }) =>
      objects
        .filter(
          ({ metadata: { labels = {} } }) =>
            labels['app.kubernetes.io/name'] !== 'fededge' ||
            labels['app.kubernetes.io/part-of'] !== 'fededge' ||
            labels['app.kubernetes.io/version'] !== environment.version.tag,
        )
        .map(nameOf),
    breakIt: changing('Service', 'fededge-api', 'metadata.labels', {}),
  },
  every(
    'labels have valid values',
    ({ metadata }) => Object.values(metadata.labels ?? {}).some((value) => !labelValue.test(value)),
    changing('Service', 'fededge-api', 'metadata.labels.note', 'not a label!'),
  ),
  every(
    'git holds no Secret',
    ({ kind }) => kind === 'Secret',
    ({ objects, environment }) => {
      const metadata = { name: 'fededge', namespace: environment.settings.namespace };
      objects.push({ apiVersion: 'v1', kind: 'Secret', metadata, stringData: { DATABASE_URL: 'x' } });
    },
  ),
  every(
    'no ConfigMap holds a secret',
    ({ kind, data }) =>
      kind === 'ConfigMap' &&
      /fedop_|fedenr_|BEGIN [A-Z ]*PRIVATE KEY|postgres(ql)?:\/\/|"d":/.test(JSON.stringify(data)),
    changing('ConfigMap', 'fededge-config', 'data.DATABASE_URL', 'postgres://fededge:secret@db/fededge'),
  ),
  every(
    'no role is given, none with a wildcard above all',
    ({ kind }) => ['Role', 'ClusterRole', 'RoleBinding', 'ClusterRoleBinding'].includes(kind),
    ({ objects }) => {
      const rules = [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }];
      objects.push({
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: { name: 'fededge' },
        rules,
      });
    },
  ),
  {
    name: 'the namespace lets restricted pods in alone',
    violations: (world) =>
      ofKind(world, 'Namespace')
        .filter(({ metadata }) => metadata.labels?.['pod-security.kubernetes.io/enforce'] !== 'restricted')
        .map(nameOf)
        .concat(ofKind(world, 'Namespace').length === 1 ? [] : ['one namespace']),
    breakIt: (world) => {
      pick(world, 'Namespace', 'fededge').metadata.labels!['pod-security.kubernetes.io/enforce'] = 'baseline';
    },
  },
  every(
    'accounts have no token',
    (object) => object.kind === 'ServiceAccount' && object.automountServiceAccountToken !== false,
    changing('ServiceAccount', 'fededge-api', 'automountServiceAccountToken', true),
  ),
  every(
    'ports of Services have names',
    (object) =>
      object.apiVersion === 'v1' &&
      object.kind === 'Service' &&
      (at(object, 'spec.ports') as { name?: string }[] | undefined)?.some(({ name }) => !name),
    changing('Service', 'fededge-api', 'spec.ports.0.name', undefined),
  ),
  every(
    'no Service is reachable past the ingress',
    (object) =>
      object.apiVersion === 'v1' &&
      object.kind === 'Service' &&
      ['NodePort', 'LoadBalancer'].includes(String(at(object, 'spec.type'))),
    changing('Service', 'fededge-api', 'spec.type', 'NodePort'),
  ),
  {
    name: 'no commit deletes data: claims and databases are not pruned',
    violations: (world) =>
      [...ofKind(world, 'PersistentVolumeClaim'), ...ofKind(world, 'Cluster')]
        .filter(
          ({ metadata }) =>
            !metadata.annotations?.['argocd.argoproj.io/sync-options']?.includes('Prune=false'),
        )
        .map(nameOf),
    breakIt: changing('PersistentVolumeClaim', 'fededge-backup', 'metadata.annotations', {}),
  },
];
