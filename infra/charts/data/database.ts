import type { ICluster } from '@kubernetes-models/cloudnative-pg/postgresql.cnpg.io/v1';
import type { Environment } from '../../environment.ts';
import { addObject } from '../../flavours/typed-object.ts';
import type { Chart } from '../../kubernetes.ts';
import { labelsOf, names } from '../../names.ts';

/** PostgreSQL by CloudNativePG. It makes the Secret `fededge-db-app`, whose `uri` is DATABASE_URL. */
export function database(chart: Chart, environment: Environment): void {
  const { database, observability } = environment.settings;
  if (database.kind !== 'cloudnative-pg') return;
  const { cpu, memory } = database.resources;
  const cluster: ICluster = {
    apiVersion: 'postgresql.cnpg.io/v1',
    kind: 'Cluster',
    metadata: {
      name: names.database,
      labels: labelsOf(environment),
      annotations: { 'argocd.argoproj.io/sync-options': 'Delete=false,Prune=false' },
    },
    spec: {
      instances: database.instances,
      imageName: `ghcr.io/cloudnative-pg/postgresql@${database.imageDigest}`,
      bootstrap: { initdb: { database: names.app, owner: names.app, encoding: 'UTF8' } },
      storage: { size: database.storage },
      resources: { requests: { cpu, memory }, limits: { memory } },
      // An acknowledged update survives the loss of one instance.
      ...(database.instances > 1 && {
        postgresql: { synchronous: { method: 'any', number: 1, dataDurability: 'required' } },
      }),
      affinity: { enablePodAntiAffinity: true, topologyKey: 'kubernetes.io/hostname' },
      monitoring: { enablePodMonitor: observability.monitors },
    },
  };
  addObject(chart, cluster);
}
