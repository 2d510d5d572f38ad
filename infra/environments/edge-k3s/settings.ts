import { noFlavours, type Settings } from '../../settings.ts';

/** A site's gateway on one node of K3s: API, worker and database in one pod on one volume, agents on the devices. */
export const settings: Settings = {
  namespace: 'fededge',
  publicUrl: 'https://fededge.site.example.org',
  image: { pullPolicy: 'IfNotPresent' },
  secret: { kind: 'existing' },
  database: { kind: 'embedded' },
  blobs: { kind: 'volume', size: '20Gi', accessMode: 'ReadWriteOnce', storageClass: 'local-path' },
  variables: { FEDEDGE_TRUSTED_PROXIES: '1' },
  api: { replicas: 1, resources: { cpu: '250m', memory: '1Gi' } },
  worker: { replicas: 1, resources: { cpu: '250m', memory: '1Gi' } },
  exposure: {
    kind: 'ingress',
    host: 'fededge.site.example.org',
    className: 'traefik',
    tlsSecret: 'fededge-tls',
  },
  network: { callers: ['kube-system'], egress: [] },
  observability: { monitors: false, dashboard: false },
  backup: {
    schedule: '15 2 * * *',
    volume: { size: '40Gi', accessMode: 'ReadWriteOnce', storageClass: 'local-path' },
  },
  agents: [
    {
      name: 'gateway',
      resources: { cpu: '250m', cpuLimit: '1', memory: '512Mi' },
      nodeSelector: { 'fededge.dev/device-class': 'gateway' },
      data: {
        claim: 'fededge-gateway-data',
        volume: { size: '5Gi', accessMode: 'ReadWriteOnce', storageClass: 'local-path' },
      },
    },
    {
      name: 'camera',
      resources: { cpu: '500m', cpuLimit: '2', memory: '1Gi' },
      nodeSelector: { 'fededge.dev/device-class': 'camera', 'kubernetes.io/arch': 'arm64' },
      data: {
        claim: 'fededge-camera-data',
        volume: { size: '20Gi', accessMode: 'ReadWriteOnce', storageClass: 'local-path' },
      },
    },
  ],
  flavours: { ...noFlavours, k3s: true },
};
