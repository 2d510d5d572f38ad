import type { IExternalSecret } from '@kubernetes-models/external-secrets/external-secrets.io/v1';
import type { Environment } from '../../environment.ts';
import { addObject } from '../../flavours/typed-object.ts';
import type { Chart } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';
import { hasAgents } from '../../workloads/agent-pod.ts';

/** Secrets come from a store outside, by External Secrets, or they exist already; git holds none. */
export function secrets(chart: Chart, environment: Environment): void {
  const { secret } = environment.settings;
  if (secret.kind === 'existing') return;
  const wanted = [
    names.secret,
    ...(environment.models.length > 0 ? [names.releaseSecret] : []),
    ...(hasAgents(environment) ? [names.agentSecret] : []),
  ];
  for (const name of wanted) {
    const externalSecret: IExternalSecret = {
      apiVersion: 'external-secrets.io/v1',
      kind: 'ExternalSecret',
      metadata: { name, labels: labelsOf(environment) },
      spec: {
        refreshInterval: `${secret.refreshSeconds}s`,
        secretStoreRef: { kind: 'ClusterSecretStore', name: secret.store },
        target: { name, creationPolicy: 'Owner', deletionPolicy: 'Retain' },
        dataFrom: [{ extract: { key: `${secret.path}/${name}` } }],
      },
    };
    addObject(chart, externalSecret);
  }
}
