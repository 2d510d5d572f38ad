import { containerPolicy, type Policy, podPolicy } from '../support/policy.ts';

/** Volumes that `restricted` allows and that do not reach the node. */
const volumeKinds = ['configMap', 'emptyDir', 'persistentVolumeClaim', 'secret'];

/** Pod Security's `restricted`, and a little more. Where a container says nothing, the pod's word holds. */
export const podSecurity: readonly Policy[] = [
  containerPolicy(
    'no container runs as root',
    (container, { spec }) =>
      (container.securityContext?.runAsNonRoot ?? spec.securityContext?.runAsNonRoot) !== true &&
      'may be root',
    ({ securityContext }) => Object.assign(securityContext!, { runAsNonRoot: false }),
  ),
  containerPolicy(
    'the user is nobody on the node: 10000 or above',
    (container, { spec }) =>
      (container.securityContext?.runAsUser ?? spec.securityContext?.runAsUser ?? 0) < 10_000 && 'user',
    ({ securityContext }) => Object.assign(securityContext!, { runAsUser: 1000 }),
  ),
  containerPolicy(
    'system calls are filtered',
    (container, { spec }) =>
      (container.securityContext?.seccompProfile ?? spec.securityContext?.seccompProfile)?.type !==
        'RuntimeDefault' && 'seccompProfile',
    ({ securityContext }) => Object.assign(securityContext!, { seccompProfile: { type: 'Unconfined' } }),
  ),
  containerPolicy(
    'nobody gains privileges',
    ({ securityContext }) =>
      (securityContext?.allowPrivilegeEscalation !== false || securityContext.privileged === true) &&
      'allowPrivilegeEscalation',
    ({ securityContext }) => Object.assign(securityContext!, { allowPrivilegeEscalation: true }),
  ),
  containerPolicy(
    'all capabilities are dropped, none is added',
    ({ securityContext }) =>
      (securityContext?.capabilities?.drop?.join() !== 'ALL' ||
        securityContext.capabilities.add !== undefined) &&
      'capabilities',
    ({ securityContext }) => Object.assign(securityContext!.capabilities!, { add: ['NET_BIND_SERVICE'] }),
  ),
  containerPolicy(
    'the root file system is read-only',
    ({ securityContext }) => securityContext?.readOnlyRootFilesystem !== true && 'readOnlyRootFilesystem',
    ({ securityContext }) => Object.assign(securityContext!, { readOnlyRootFilesystem: false }),
  ),
  podPolicy(
    'no namespace of the node is shared',
    ({ spec }) => (spec.hostNetwork || spec.hostPID || spec.hostIPC) && 'host namespace',
    (spec) => Object.assign(spec, { hostNetwork: true }),
  ),
  podPolicy(
    'volumes do not reach the node',
    ({ spec }) =>
      (spec.volumes ?? [])
        .filter((volume) => !volumeKinds.some((kind) => kind in volume))
        .map(({ name }) => name)
        .join(),
    (spec) => spec.volumes!.push({ name: 'node', hostPath: { path: '/' } }),
  ),
  containerPolicy(
    'no port of the node is taken',
    ({ ports }) => ports?.some(({ hostPort }) => hostPort !== undefined) && 'hostPort',
    ({ ports }) => Object.assign(ports![0]!, { hostPort: 80 }),
  ),
  podPolicy(
    'no token of the Kubernetes API is mounted',
    ({ spec }) => spec.automountServiceAccountToken !== false && 'automountServiceAccountToken',
    (spec) => Object.assign(spec, { automountServiceAccountToken: true }),
  ),
  podPolicy(
    'every component has its own account',
    ({ spec, labels }, { objects }) =>
      (spec.serviceAccountName !== `fededge-${labels['app.kubernetes.io/component']}` ||
        !objects.some(
          ({ kind, metadata }) => kind === 'ServiceAccount' && metadata.name === spec.serviceAccountName,
        )) &&
      `account ${spec.serviceAccountName}`,
    (spec) => Object.assign(spec, { serviceAccountName: 'default' }),
  ),
  podPolicy(
    'the environment has no addresses of Services that nobody asked for',
    ({ spec }) => spec.enableServiceLinks !== false && 'enableServiceLinks',
    (spec) => Object.assign(spec, { enableServiceLinks: true }),
  ),
  containerPolicy(
    'no secret is written down: those in the environment come from Secrets',
    ({ env }) =>
      env
        ?.filter(({ value }) => value !== undefined && !value.startsWith('/'))
        .find(({ name }) => /KEY|SECRET|PASSWORD|TOKEN|DATABASE_URL/.test(name))?.name,
    ({ env }) => env!.push({ name: 'FEDEDGE_OPERATOR_KEY', value: 'fedop_example' }),
  ),
];
