import { noFlavours, type Settings } from '../../settings.ts';

/** Production's shape at a tenth of its size: PostgreSQL by CloudNativePG, secrets by External Secrets. */
export const settings: Settings = {
  namespace: 'fededge',
  publicUrl: 'https://staging.fededge.example.org',
  image: { pullPolicy: 'IfNotPresent' },
  secret: { kind: 'external-secrets', store: 'vault', path: 'fededge/staging', refreshSeconds: 3600 },
  database: {
    kind: 'cloudnative-pg',
    instances: 2,
    storage: '20Gi',
    resources: { cpu: '500m', memory: '1Gi' },
    imageDigest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000',
  },
  blobs: { kind: 's3', url: 'https://s3.eu-central-1.amazonaws.com/fededge-staging', region: 'eu-central-1' },
  variables: { FEDEDGE_TRUSTED_PROXIES: '1' },
  api: {
    replicas: 2,
    resources: { cpu: '500m', memory: '1Gi' },
    autoscaling: { max: 4, cpuPercent: 70 },
  },
  worker: { replicas: 1, resources: { cpu: '1', memory: '1Gi' } },
  exposure: {
    kind: 'gateway',
    host: 'staging.fededge.example.org',
    gateway: { name: 'public', namespace: 'gateways', listener: 'https' },
  },
  network: {
    callers: ['gateways'],
    monitoring: 'monitoring',
    egress: [{ name: 's3', cidr: '0.0.0.0/0', port: 443 }],
  },
  observability: { monitors: true, dashboard: true },
  flavours: noFlavours,
};
