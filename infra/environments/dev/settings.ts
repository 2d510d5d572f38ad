import { noFlavours, type Settings } from '../../settings.ts';

/**
 * For trying things out on any cluster of one node, without an operator, an ingress controller or a storage class:
 * PostgreSQL is outside (DATABASE_URL in the Secret), blobs are files on the node.
 */
export const settings: Settings = {
  namespace: 'fededge',
  publicUrl: 'http://fededge-api.fededge.svc',
  image: { pullPolicy: 'IfNotPresent' },
  secret: { kind: 'existing' },
  database: { kind: 'external' },
  blobs: {
    kind: 'volume',
    size: '2Gi',
    accessMode: 'ReadWriteMany',
    localPath: '/var/lib/fededge/dev/data',
  },
  variables: { FEDEDGE_LOG_LEVEL: 'debug', FEDEDGE_CATALOG_SECONDS: '5' },
  api: { replicas: 2, resources: { cpu: '100m', memory: '512Mi' } },
  worker: { replicas: 1, resources: { cpu: '100m', memory: '512Mi' } },
  exposure: { kind: 'service' },
  network: {
    callers: [],
    egress: [{ name: 'postgresql', cidr: '0.0.0.0/0', port: 5432 }],
  },
  observability: { monitors: false, dashboard: true },
  agents: [
    {
      name: 'lab',
      replicas: 6,
      resources: { cpu: '50m', memory: '512Mi' },
      data: {
        claim: 'fededge-agent-data',
        volume: {
          size: '1Gi',
          accessMode: 'ReadOnlyMany',
          localPath: '/var/lib/fededge/dev/agent-data',
        },
      },
    },
  ],
  flavours: noFlavours,
};
