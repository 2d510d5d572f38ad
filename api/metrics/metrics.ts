import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { collectProcessMetrics } from './process-metrics.ts';
import { createRequestTimes } from './request-times.ts';

export type Metrics = ReturnType<typeof createMetrics>;

const seconds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/**
 * What a process tells of itself, for Prometheus. One for each process, a plain object in `deps`. No label names a
 * device, a run or a model: the number of series is bounded by the code. What the database knows is in
 * `metrics.state`, read when somebody asks: every process tells the same, take `max` over them.
 */
export function createMetrics(build: { version: string; role: 'server' | 'worker' }) {
  const registry = new Registry();
  const registers = [registry];
  collectProcessMetrics(registry);
  const counter = <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Counter<L>({ name: `fededge_${name}`, help, labelNames, registers });
  const gauge = <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
    new Gauge<L>({ name: `fededge_${name}`, help, labelNames, registers });
  const histogram = <L extends string = never>(
    name: string,
    help: string,
    { labelNames = [], buckets = seconds }: { labelNames?: readonly L[]; buckets?: number[] } = {},
  ) => new Histogram<L>({ name: `fededge_${name}`, help, labelNames, buckets, registers });

  gauge('build_info', 'Always 1; the labels tell what runs.', ['version', 'node', 'role']).set(
    { ...build, node: process.versions.node },
    1,
  );
  return {
    registry,
    httpSeconds: createRequestTimes(registry, {
      name: 'fededge_http_request_seconds',
      help: 'Requests by operation, until their answer is made.',
      bounds: seconds,
    }),
    uploadedBytes: counter('uploaded_bytes_total', 'Bodies of requests that succeeded.', ['operation']),
    downloadedBytes: counter('downloaded_bytes_total', 'Bytes of model files that were sent.'),
    waitingDevices: gauge('waiting_devices', 'Devices whose long poll waits on this process.'),
    admissions: counter('admissions_total', 'What became of updates that were sent.', ['admission']),
    staleness: histogram('update_staleness', 'Publications since the base version of accepted updates.', {
      buckets: [0, 1, 2, 4, 8, 16, 32, 64],
    }),
    foldSeconds: histogram('fold_seconds', 'Folding one update, from its blob on.'),
    foldedBytes: counter('folded_bytes_total', 'Bytes of updates that were folded.'),
    publishSeconds: histogram('publish_seconds', 'Writing and publishing one version.'),
    scoringSeconds: histogram('scoring_seconds', 'Scoring one version on its evaluation set.'),
    workerPasses: counter('worker_passes_total', 'Passes of the parts of the worker.', ['part', 'outcome']),
    blobOperations: counter('blob_operations_total', 'Calls of the blob store.', ['operation', 'outcome']),
    blobBytes: counter(
      'blob_bytes_total',
      'Bytes that went to and came from the blob store; what the fold thread reads from files itself is in folded bytes alone.',
      ['direction'],
    ),
    transactionSeconds: histogram(
      'database_transaction_seconds',
      'Transactions, the wait for a connection included.',
    ),
    state: {
      rounds: gauge('rounds', 'Rounds by kind, state and the reason of a failure.', [
        'kind',
        'state',
        'outcome',
      ]),
      devices: gauge('devices', 'Devices by state.', ['state']),
      releases: gauge('releases', 'Releases by state.', ['state']),
      catalogFaults: gauge('catalog_faults', 'Files of the catalog that do not hold.'),
      openAssignments: gauge('open_assignments', 'Assignments that are open.', ['kind']),
      leaseAge: gauge('lease_age_seconds', 'Since the lease that was renewed longest ago was renewed.'),
      eventLag: gauge('event_lag_seconds', 'Age of the oldest event that has no number yet.'),
      auditLag: gauge('audit_lag_seconds', 'Age of the oldest audit entry that is not chained yet.'),
      connections: gauge('database_connections', 'Connections of this process by state.', ['state']),
      connectionsMax: gauge('database_connections_max', 'Connections that this process may open.'),
      pendingFolds: gauge(
        'pending_folds',
        'Accepted updates of open train rounds that no checkpoint of a fold has yet.',
      ),
      deadBlobs: gauge('dead_blobs', 'Blobs that the sweeper has to delete.'),
    },
  };
}
