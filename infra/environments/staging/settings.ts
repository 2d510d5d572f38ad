import { type ClientCandidate, noFlavours, type Settings } from '../../settings.ts';

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
  // Stand-ins for devices: four of them, where they see most of the recorded data.
  clients: {
    agents: 4,
    labels: { purpose: 'staging' },
    seed: 2026,
    nodes: [
      { name: 'pool-a-1', cpuMillis: 1500, memoryMb: 3000 },
      { name: 'pool-a-2', cpuMillis: 1500, memoryMb: 3000 },
      { name: 'pool-b-1', cpuMillis: 750, memoryMb: 1500 },
    ],
    candidates: [
      recording('berlin', { 'berlin/pumps': 4000, 'berlin/fans': 1200 }, ['pool-a-1', 'pool-a-2']),
      recording('berlin-fans', { 'berlin/fans': 1800 }, ['pool-a-1', 'pool-a-2']),
      recording('turin', { 'turin/pumps': 2500, 'turin/fans': 900 }, ['pool-a-2', 'pool-b-1']),
      recording('lyon', { 'lyon/pumps': 3100 }, ['pool-b-1']),
      recording('lyon-large', { 'lyon/pumps': 3100, 'lyon/presses': 2000 }, ['pool-a-1'], 1000),
      recording('gent', { 'gent/presses': 700 }, ['pool-a-1', 'pool-a-2', 'pool-b-1']),
    ],
  },
  flavours: noFlavours,
};

function recording(
  name: string,
  covers: Record<string, number>,
  nodes: string[],
  cpuMillis = 500,
): ClientCandidate {
  const labels = { purpose: 'staging' };
  return {
    name,
    labels,
    covers,
    nodes,
    cpuMillis,
    memoryMb: 1000,
    claim: `recording-${name}`,
  };
}
