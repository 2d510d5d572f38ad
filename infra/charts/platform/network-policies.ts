import type { Environment } from '../../environment.ts';
import { type Chart, k8s } from '../../kubernetes.ts';
import { type Component, labelsOf, names, ports, selectorOf } from '../../names.ts';

type Peer = k8s.NetworkPolicyPeer;

const port = (number: number, protocol = 'TCP') => ({ port: k8s.IntOrString.fromNumber(number), protocol });
const podsOf = (component: Component): Peer => ({ podSelector: { matchLabels: selectorOf(component) } });
const namespaceOf = (name: string): Peer => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
});
/** Where NodeLocal DNSCache answers; kube-dns' pods are in kube-system. */
const dns: Peer[] = [namespaceOf('kube-system'), { ipBlock: { cidr: '169.254.20.10/32' } }];
/** What opens connections to database and blob store. */
const workers: Component[] = ['api', 'worker', 'migrate', 'backup'];

/** Nothing may connect to anything, but for what follows. */
export function networkPolicies(chart: Chart, environment: Environment): void {
  const { network, database } = environment.settings;
  const add = (name: string, spec: k8s.NetworkPolicySpec) =>
    new k8s.KubeNetworkPolicy(chart, name, { metadata: { name, labels: labelsOf(environment) }, spec });
  const monitoring = network.monitoring === undefined ? [] : [namespaceOf(network.monitoring)];
  const everything = { podSelector: {} };
  const anyWorker = {
    podSelector: {
      matchLabels: { 'app.kubernetes.io/name': names.app },
      matchExpressions: [{ key: 'app.kubernetes.io/component', operator: 'In', values: workers }],
    },
  };

  add('default-deny', { ...everything, policyTypes: ['Ingress', 'Egress'] });
  add('dns', {
    ...everything,
    policyTypes: ['Egress'],
    egress: [{ to: dns, ports: [port(53, 'UDP'), port(53)] }],
  });
  add('api-callers', {
    podSelector: { matchLabels: selectorOf('api') },
    policyTypes: ['Ingress'],
    ingress: [
      {
        from: [...network.callers.map(namespaceOf), podsOf('agent'), podsOf('release'), ...monitoring],
        ports: [port(ports.http)],
      },
    ],
  });
  if (monitoring.length > 0) {
    add('worker-metrics', {
      podSelector: { matchLabels: selectorOf('worker') },
      policyTypes: ['Ingress'],
      ingress: [{ from: monitoring, ports: [port(ports.workerMetrics)] }],
    });
  }
  for (const caller of ['agent', 'release'] as const) {
    add(`${caller}-to-api`, {
      podSelector: { matchLabels: selectorOf(caller) },
      policyTypes: ['Egress'],
      egress: [{ to: [podsOf('api')], ports: [port(ports.http)] }],
    });
  }
  for (const { name, cidr, port: number } of network.egress) {
    add(`to-${name}`, {
      ...anyWorker,
      policyTypes: ['Egress'],
      egress: [{ to: [{ ipBlock: { cidr } }], ports: [port(number)] }],
    });
  }
  if (database.kind === 'cloudnative-pg') addDatabasePolicies(add, anyWorker, network.monitoring);
}

const instances = { matchLabels: { 'cnpg.io/cluster': names.database } };

/** The instances replicate among themselves, obey the operator, and keep their leader in the Kubernetes API. */
function addDatabasePolicies(
  add: (name: string, spec: k8s.NetworkPolicySpec) => unknown,
  clients: { podSelector: k8s.LabelSelector },
  monitoring: string | undefined,
): void {
  add('to-database', {
    ...clients,
    policyTypes: ['Egress'],
    egress: [{ to: [{ podSelector: instances }], ports: [port(5432)] }],
  });
  add('database', {
    podSelector: instances,
    policyTypes: ['Ingress', 'Egress'],
    ingress: [
      { from: [clients, { podSelector: instances }], ports: [port(5432)] },
      { from: [namespaceOf('cnpg-system')], ports: [port(8000), port(5432)] },
      ...(monitoring ? [{ from: [namespaceOf(monitoring)], ports: [port(9187)] }] : []),
    ],
    egress: [
      { to: [{ podSelector: instances }], ports: [port(5432)] },
      { to: [{ ipBlock: { cidr: '0.0.0.0/0' } }], ports: [port(443), port(6443)] },
    ],
  });
}
