import { noFlavours, type Settings } from '../../settings.ts';

/** 10,000 devices: a managed PostgreSQL, blobs in S3, autoscaled replicas behind an ingress. See sizing.ts. */
export const settings: Settings = {
  namespace: 'fededge',
  publicUrl: 'https://fededge.example.org',
  image: { pullPolicy: 'IfNotPresent' },
  secret: { kind: 'external-secrets', store: 'vault', path: 'fededge/production', refreshSeconds: 3600 },
  database: { kind: 'external' },
  blobs: {
    kind: 's3',
    url: 'https://s3.eu-central-1.amazonaws.com/fededge-production',
    region: 'eu-central-1',
  },
  variables: { FEDEDGE_TRUSTED_PROXIES: '1' },
  api: {
    replicas: 3,
    resources: { cpu: '1', memory: '2Gi' },
    autoscaling: { max: 12, cpuPercent: 70 },
  },
  worker: { replicas: 2, resources: { cpu: '2', memory: '4Gi' } },
  exposure: {
    kind: 'ingress',
    host: 'fededge.example.org',
    className: 'nginx',
    tlsSecret: 'fededge-tls',
    annotations: {
      'cert-manager.io/cluster-issuer': 'letsencrypt',
      'nginx.ingress.kubernetes.io/proxy-body-size': '2g',
      'nginx.ingress.kubernetes.io/proxy-request-buffering': 'off',
      'nginx.ingress.kubernetes.io/proxy-read-timeout': '60',
    },
  },
  network: {
    callers: ['ingress-nginx'],
    monitoring: 'monitoring',
    egress: [
      { name: 'postgresql', cidr: '10.20.0.0/16', port: 5432 },
      { name: 's3', cidr: '0.0.0.0/0', port: 443 },
    ],
  },
  observability: { monitors: true, dashboard: true },
  backup: { schedule: '15 2 * * *', volume: { size: '200Gi', accessMode: 'ReadWriteOnce' } },
  flavours: noFlavours,
};
