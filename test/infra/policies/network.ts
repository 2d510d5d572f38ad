import { at, drop, ofKind, pick } from '../support/objects.ts';
import { type Labels, nameOf, podsOf, selects } from '../support/pods.ts';
import { changing, type Policy } from '../support/policy.ts';
import type { World } from '../support/worlds.ts';

interface Selector {
  matchLabels?: Labels;
  matchExpressions?: { key: string; values: string[] }[];
}

/** Whether a selector of these policies (labels; key in values) takes the labels. */
function takes({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  return (
    selects(matchLabels, labels) &&
    matchExpressions.every(({ key, values }) => values.includes(labels[key] ?? ''))
  );
}

const selectorOf = (policy: unknown) => at(policy, 'spec.podSelector') as Selector;

/** Policies that say where pods with these labels may go, or who may come. */
function policiesFor(world: World, labels: Labels, type: 'Ingress' | 'Egress') {
  return ofKind(world, 'NetworkPolicy').filter(
    (policy) =>
      (at(policy, 'spec.policyTypes') as string[]).includes(type) && takes(selectorOf(policy), labels),
  );
}

function reaches(world: World, component: string, port: number): boolean {
  const labels = { 'app.kubernetes.io/name': 'fededge', 'app.kubernetes.io/component': component };
  const rules = policiesFor(world, labels, 'Egress').flatMap((policy) => at(policy, 'spec.egress') ?? []);
  return JSON.stringify(rules).includes(`"port":${port}`);
}

/** Who may talk to whom. */
export const network: readonly Policy[] = [
  {
    name: 'nothing talks to anything unless a policy says so',
    violations: (world) => {
      const deny = ofKind(world, 'NetworkPolicy').filter(
        (policy) =>
          JSON.stringify(selectorOf(policy)) === '{}' &&
          at(policy, 'spec.ingress') === undefined &&
          at(policy, 'spec.egress') === undefined,
      );
      const types = deny.flatMap((policy) => at(policy, 'spec.policyTypes') as string[]);
      return ['Ingress', 'Egress'].filter((type) => !types.includes(type));
    },
    breakIt: (world) => drop(world, 'NetworkPolicy', 'default-deny'),
  },
  {
    name: 'no policy lets everybody in',
    violations: (world) =>
      ofKind(world, 'NetworkPolicy')
        .filter((policy) =>
          ((at(policy, 'spec.ingress') ?? []) as { from?: unknown[] }[]).some(
            ({ from }) =>
              from === undefined || JSON.stringify(from).match(/"(podSelector|namespaceSelector)":{}/),
          ),
        )
        .map(nameOf),
    breakIt: changing('NetworkPolicy', 'api-callers', 'spec.ingress', [{ ports: [{ port: 8080 }] }]),
  },
  {
    name: 'policies name ports',
    violations: (world) =>
      ofKind(world, 'NetworkPolicy')
        .filter((policy) =>
          [at(policy, 'spec.ingress'), at(policy, 'spec.egress')]
            .flatMap((rules) => (rules ?? []) as { ports?: unknown[] }[])
            .some(({ ports }) => !ports?.length),
        )
        .map(nameOf),
    breakIt: changing('NetworkPolicy', 'dns', 'spec.egress.0.ports', undefined),
  },
  {
    name: 'every pod can resolve names',
    violations: (world) =>
      podsOf(world.objects)
        .filter(({ labels }) => {
          const rules = policiesFor(world, labels, 'Egress').map((policy) => at(policy, 'spec.egress'));
          return !JSON.stringify(rules).includes('"port":53,"protocol":"UDP"');
        })
        .map(({ name }) => name),
    breakIt: (world) => drop(world, 'NetworkPolicy', 'dns'),
  },
  {
    name: 'whoever uses the database reaches it',
    violations: (world) =>
      world.environment.settings.database.kind === 'embedded'
        ? []
        : ['api', 'worker', 'migrate', 'backup'].filter((component) => !reaches(world, component, 5432)),
    breakIt: (world) => drop(world, 'NetworkPolicy', 'to-postgresql'),
  },
  {
    name: 'whoever uses S3 reaches it',
    violations: (world) =>
      world.environment.settings.blobs.kind !== 's3'
        ? []
        : ['api', 'worker', 'backup'].filter((component) => !reaches(world, component, 443)),
    breakIt: (world) => drop(world, 'NetworkPolicy', 'to-s3'),
  },
  {
    name: 'agents and release Jobs reach the API, and nothing else',
    violations: (world) =>
      ['agent', 'release'].flatMap((component) => {
        const labels = { 'app.kubernetes.io/name': 'fededge', 'app.kubernetes.io/component': component };
        const rules = policiesFor(world, labels, 'Egress').flatMap(
          (policy) => at(policy, 'spec.egress') ?? [],
        );
        const ports = [...JSON.stringify(rules).matchAll(/"port":(\d+)/g)].map(([, port]) => Number(port));
        const mesh = world.environment.settings.flavours.istio ? [15_012] : [];
        const isRight = ports.includes(8080) && ports.every((port) => [53, 8080, ...mesh].includes(port));
        return isRight ? [] : [component];
      }),
    breakIt: (world) => {
      pick(world, 'NetworkPolicy', 'agent-to-api').spec = {
        podSelector: { matchLabels: { 'app.kubernetes.io/component': 'agent' } },
        policyTypes: ['Egress'],
        egress: [{ ports: [{ port: 5432 }] }],
      };
    },
  },
  {
    name: 'metrics, health and documents of the inside stay inside',
    violations: (world) =>
      ofKind(world, 'Ingress', 'HTTPRoute')
        .filter(
          ({ spec }) =>
            !/"\/v1"/.test(JSON.stringify(spec)) || /"\/(metrics|livez|readyz)?"/.test(JSON.stringify(spec)),
        )
        .map(nameOf),
    breakIt: changing('Ingress', 'fededge-api', 'spec.rules.0.http.paths.0.path', '/'),
  },
  {
    name: 'devices come by TLS',
    violations: (world) => [
      ...ofKind(world, 'Ingress')
        .filter((object) => {
          const hosts = (at(object, 'spec.rules') as { host: string }[]).map(({ host }) => host);
          return hosts.join() !== (at(object, 'spec.tls.0.hosts') as string[] | undefined)?.join();
        })
        .map(nameOf),
      ...(world.environment.settings.exposure.kind !== 'service' &&
      !world.environment.settings.publicUrl.startsWith('https://')
        ? ['publicUrl']
        : []),
    ],
    breakIt: changing('Ingress', 'fededge-api', 'spec.tls', []),
  },
];
