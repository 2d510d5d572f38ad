/**
 * How much of everything a federation needs. Pure: loads in, sizes out, by the coefficients below. Those of the
 * API's and the worker's CPU come from `npm run bench -- rounds downloads fold waiting` (Node 24, two cores of x86-64, clients
 * beside the server), rounded up; the others are estimates. `node infra/sizing-table.ts` writes README's table.
 */
export interface Load {
  devices: number;
  /** In the mean; rounds make bursts of them, see `burst`. */
  updatesPerHour: number;
  /** Parameters of the model, as float32 on the wire. */
  parameters: number;
  /** Versions are kept for so long. */
  keepDays: number;
  /** Updates of a round: how many are folded into one version. */
  updatesPerRound: number;
}

export interface Size {
  api: { replicas: number; cpu: number; memoryGb: number };
  worker: { replicas: number; cpu: number; memoryGb: number };
  database: { cpu: number; memoryGb: number; storageGb: number; connections: number };
  /** Blobs: versions that are kept, and updates until their version is published. */
  blobsGb: number;
  trafficGbPerMonth: { in: number; out: number };
  /** US dollars. What leaves the cloud is told apart: on premises, or near the devices, it costs nothing. */
  costPerMonth: { computeAndStorage: number; trafficOut: number };
}

const coefficients = {
  /**
   * Taking a body: received, hashed, checked for finite values, synced. CPU s/GB of the API. `rounds`, 32 x 10 M: 1.85 CPU s
   * for each GB that goes up or down, so 3.7 for one of each, less the download and the fold.
   */
  intakeSecondsPerGb: 3.3,
  /** Sending a model file from memory. CPU s/GB of the API. `downloads`, 40 MB: 0.21. */
  downloadSecondsPerGb: 0.25,
  /**
   * A request that asks the database, its share of TLS-free HTTP, JSON and logging included. CPU s of the API. `rounds`,
   * 100 x 0.1 M: 4.2 ms an update, 1.5 ms of them for its bytes.
   */
  requestSeconds: 0.0007,
  /** Requests of a device for one update: token, poll, model, update. */
  requestsPerUpdate: 4,
  /** A device that waits asks again after so long. */
  pollSeconds: 25,
  /** What a poll costs that is answered by nothing. CPU s of the API. `waiting`, 2,000 devices: 5.3 % of a core. */
  pollCpuSeconds: 0.0007,
  /** Memory of a device that waits. `waiting`, 2,000 devices: 69 KB. */
  waitingDeviceMb: 0.069,
  /** Reading a blob, and folding it into f64. CPU s/GB of the worker. `fold`, 10 M: 6.0 GB/s from a local disk. */
  foldSecondsPerGb: 0.25,
  /** A server with its buffers, and each of the uploads that it takes at once. */
  apiBaseGb: 0.25,
  workerBaseGb: 0.3,
  /** Accumulator (f64), model and published version (f32), and a copy at work: bytes a parameter and round. */
  workerBytesPerParameter: 24,
  /** Transactions of an update, its assignment and its events. CPU s of PostgreSQL. */
  databaseSecondsPerUpdate: 0.006,
  /** Rows and indexes that stay of an update: receipt, assignment, events, audit. */
  databaseBytesPerUpdate: 4000,
  databaseBytesPerDevice: 3000,
  connectionsPerProcess: 16,
  /** A round's updates come together: the peak over the mean. */
  burst: 5,
  /** Of a core, at the peak: the rest is for what nobody foresaw. */
  utilisation: 0.6,
  /** One pod does not grow above this; then there is another one. */
  coresPerPod: 2,
} as const;

/** US dollars a month on demand in a large cloud; put your own. */
const prices = { core: 28, memoryGb: 3.8, diskGb: 0.1, blobGb: 0.023, trafficOutGb: 0.09 } as const;

const HOURS_PER_MONTH = 730;
const GB = 1e9;

export function sizeOf(load: Load): Size {
  const modelGb = (load.parameters * 4) / GB;
  const perSecond = load.updatesPerHour / 3600;
  const api = apiOf(load, perSecond, modelGb);
  const worker = workerOf(load, perSecond, modelGb);
  const processes = api.replicas + worker.replicas;
  const updatesKept = load.updatesPerHour * 24 * Math.max(load.keepDays, 90);
  const database = {
    cpu: roundUp(
      (perSecond * coefficients.burst * coefficients.databaseSecondsPerUpdate) / coefficients.utilisation,
      0.5,
    ),
    memoryGb: roundUp(1 + load.devices / 20_000, 1),
    storageGb: roundUp(
      5 +
        (updatesKept * coefficients.databaseBytesPerUpdate +
          load.devices * coefficients.databaseBytesPerDevice) /
          GB,
      5,
    ),
    connections: processes * coefficients.connectionsPerProcess,
  };
  const versionsKept = ((load.updatesPerHour * 24) / load.updatesPerRound) * load.keepDays;
  const blobsGb = roundUp((versionsKept + 2 * load.updatesPerRound) * modelGb, 1);
  const monthlyGb = roundUp(load.updatesPerHour * HOURS_PER_MONTH * modelGb, 1);
  const size = { api, worker, database, blobsGb, trafficGbPerMonth: { in: monthlyGb, out: monthlyGb } };
  return { ...size, costPerMonth: costOf(size) };
}

function apiOf({ devices }: Load, perSecond: number, modelGb: number): Size['api'] {
  const { intakeSecondsPerGb, downloadSecondsPerGb, requestSeconds, requestsPerUpdate } = coefficients;
  const perUpdate =
    modelGb * (intakeSecondsPerGb + downloadSecondsPerGb) + requestsPerUpdate * requestSeconds;
  const polls = (devices / coefficients.pollSeconds) * coefficients.pollCpuSeconds;
  const cores = (perSecond * coefficients.burst * perUpdate + polls) / coefficients.utilisation;
  // Two, so that one may be replaced.
  const replicas = Math.max(2, Math.ceil(cores / coefficients.coresPerPod));
  const waitingGb = ((devices / replicas) * coefficients.waitingDeviceMb) / 1000;
  return {
    replicas,
    cpu: roundUp(cores / replicas, 0.25),
    // A model file that is downloaded much stays in memory.
    memoryGb: roundUp(coefficients.apiBaseGb + waitingGb + 2 * modelGb, 0.5),
  };
}

function workerOf({ parameters }: Load, perSecond: number, modelGb: number): Size['worker'] {
  const { foldSecondsPerGb, utilisation, coresPerPod, workerBaseGb, workerBytesPerParameter } = coefficients;
  // It may lag behind a burst: rounds wait for their last updates longer than for the fold.
  const cores = (2 * perSecond * modelGb * foldSecondsPerGb) / utilisation;
  const replicas = Math.max(1, Math.ceil(cores / coresPerPod));
  return {
    replicas,
    cpu: Math.max(0.5, roundUp(cores / replicas, 0.25)),
    memoryGb: roundUp(workerBaseGb + (parameters * workerBytesPerParameter) / GB, 0.5),
  };
}

function costOf(size: Omit<Size, 'costPerMonth'>): Size['costPerMonth'] {
  const { api, worker, database, blobsGb, trafficGbPerMonth } = size;
  const pods = [api, worker, { replicas: 1, ...database }];
  const compute = pods.reduce(
    (sum, { replicas, cpu, memoryGb }) => sum + replicas * (cpu * prices.core + memoryGb * prices.memoryGb),
    0,
  );
  const storage = database.storageGb * prices.diskGb + blobsGb * prices.blobGb;
  return {
    computeAndStorage: Math.ceil(compute + storage),
    trafficOut: Math.ceil(trafficGbPerMonth.out * prices.trafficOutGb),
  };
}

function roundUp(value: number, step: number): number {
  return Math.max(step, Math.ceil(value / step - 1e-9) * step);
}
