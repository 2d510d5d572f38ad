import { componentOf, containersOf, isServing } from '../support/pods.ts';
import { containerPolicy, type Policy, podPolicy } from '../support/policy.ts';

const writable = ['/data', '/tmp', '/backup'];

/** What a container is given, and how one can tell that it works. */
export const containers: readonly Policy[] = [
  containerPolicy(
    'images are pinned by digest, outside dev',
    ({ image }, _, { environment }) =>
      environment.name !== 'dev' && !/@sha256:[0-9a-f]{64}$/.test(image ?? '') && `image ${image}`,
    (container) => Object.assign(container, { image: 'ghcr.io/fededge/fededge:0.1.0' }),
  ),
  containerPolicy(
    'no image is the latest',
    ({ image = '' }) => (image.endsWith(':latest') || !/[:@][^/]+$/.test(image)) && `image ${image}`,
    (container) => Object.assign(container, { image: 'ghcr.io/fededge/fededge:latest' }),
  ),
  containerPolicy(
    'CPU and memory are asked for',
    ({ resources }) => (!resources?.requests?.cpu || !resources.requests.memory) && 'requests',
    ({ resources }) => Object.assign(resources!, { requests: { memory: '1Gi' } }),
  ),
  containerPolicy(
    'memory is limited to what is asked for: nobody is evicted for another’s growth',
    ({ resources }) =>
      (!resources?.limits?.memory || resources.limits.memory !== resources.requests?.memory) &&
      'memory limit',
    ({ resources }) => Object.assign(resources!, { limits: {} }),
  ),
  containerPolicy(
    'it writes to its few folders alone',
    ({ volumeMounts = [] }) =>
      volumeMounts
        .filter(({ readOnly, mountPath }) => !readOnly && !writable.includes(mountPath))
        .map(({ mountPath }) => mountPath)
        .join(),
    ({ volumeMounts }) => volumeMounts!.push({ name: 'tmp', mountPath: '/etc' }),
  ),
  podPolicy(
    'scratch folders are bounded',
    ({ spec }) => spec.volumes?.find(({ emptyDir }) => emptyDir && !emptyDir.sizeLimit)?.name,
    (spec) => spec.volumes!.push({ name: 'endless', emptyDir: {} }),
  ),
  podPolicy(
    'mounts and volumes are of each other',
    (pod) => {
      const mounted = containersOf(pod).flatMap(({ volumeMounts = [] }) =>
        volumeMounts.map(({ name }) => name),
      );
      const there = (pod.spec.volumes ?? []).map(({ name }) => name);
      return [...mounted, ...there].filter((name) => !mounted.includes(name) || !there.includes(name)).join();
    },
    (spec) => spec.volumes!.push({ name: 'unused', emptyDir: { sizeLimit: '1Mi' } }),
  ),
  containerPolicy(
    'what serves is probed by HTTP, from the start, for life and for readiness',
    (container, pod) =>
      (isServing(pod) || componentOf(pod) === 'agent') &&
      // Its pods wait for a run and end.
      pod.owner.kind !== 'TrainingRuntime' &&
      (['startupProbe', 'livenessProbe', 'readinessProbe'] as const)
        .filter((probe) => !container[probe]?.httpGet)
        .join(),
    (container) => Object.assign(container, { livenessProbe: { tcpSocket: { port: 8080 } } }),
  ),
  containerPolicy(
    'probes ask ports that there are',
    ({ ports = [], startupProbe, livenessProbe, readinessProbe }, { owner }) => {
      const asked = [startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet?.port);
      // Knative fills in the only port.
      const isKnative = owner.apiVersion.startsWith('serving.knative.dev');
      return asked
        .filter((port) => port !== undefined || !isKnative)
        .filter((port) => port !== undefined && !ports.some(({ name }) => name === port))
        .join();
    },
    ({ readinessProbe }) => Object.assign(readinessProbe!.httpGet!, { port: 'web' }),
  ),
  containerPolicy(
    'readiness tells of the database, liveness does not',
    ({ livenessProbe, readinessProbe }, pod) =>
      componentOf(pod) === 'api' &&
      (livenessProbe?.httpGet?.path !== '/livez' || readinessProbe?.httpGet?.path !== '/readyz') &&
      'a database that is away would restart every API pod',
    ({ livenessProbe }) => Object.assign(livenessProbe!.httpGet!, { path: '/readyz' }),
  ),
  containerPolicy(
    'ports have names',
    ({ ports = [] }) => ports.some(({ name }) => !name) && 'a port',
    ({ ports }) => Object.assign(ports![0]!, { name: undefined }),
  ),
  podPolicy(
    'API and worker have the time to drain (polls and uploads, then leases: 20 s at most, after the 5 s of preStop)',
    (pod) =>
      isServing(pod) &&
      !pod.owner.apiVersion.startsWith('serving.knative.dev') &&
      (pod.spec.terminationGracePeriodSeconds ?? 30) < 30 &&
      'terminationGracePeriodSeconds',
    (spec) => Object.assign(spec, { terminationGracePeriodSeconds: 20 }),
  ),
  containerPolicy(
    'the API goes on until nobody sends it requests any more',
    ({ lifecycle }, pod) =>
      componentOf(pod) === 'api' &&
      !pod.owner.apiVersion.startsWith('serving.knative.dev') &&
      !lifecycle?.preStop &&
      'preStop',
    (container) => Object.assign(container, { lifecycle: undefined }),
  ),
  podPolicy(
    'API and worker are spread over nodes and zones',
    (pod) => {
      if (!isServing(pod) || pod.owner.apiVersion.startsWith('serving.knative.dev')) return false;
      const keys = pod.spec.topologySpreadConstraints?.map(({ topologyKey }) => topologyKey) ?? [];
      return ['kubernetes.io/hostname', 'topology.kubernetes.io/zone']
        .filter((key) => !keys.includes(key))
        .join();
    },
    (spec) => Object.assign(spec, { topologySpreadConstraints: [] }),
  ),
];
