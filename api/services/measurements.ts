import { setTimeout as sleep } from 'node:timers/promises';
import type { Deps } from '../deps.ts';
import {
  countConnections,
  countDevices,
  countOpenAssignments,
  countReleases,
  countRounds,
  findBacklog,
} from '../store/measurements.ts';

/** Several scrapers at once cost the database one look. */
const CACHE_MS = 2000;
const TIMEOUT_MS = 2000;

type MeasuredDeps = Pick<Deps, 'db' | 'clock' | 'config' | 'log' | 'metrics'>;

/**
 * Everything that this process measures, in Prometheus' text format. While the database does not answer, what only it
 * knows is left out.
 */
export function createMeasurements(deps: MeasuredDeps): () => Promise<{ text: string; type: string }> {
  const { registry } = deps.metrics;
  let asked: { at: number; answer: Promise<void> } | undefined;
  return async () => {
    const at = performance.now();
    if (!asked || at - asked.at >= CACHE_MS) asked = { at, answer: measureState(deps) };
    await asked.answer;
    return { text: await registry.metrics(), type: registry.contentType };
  };
}

async function measureState(deps: MeasuredDeps): Promise<void> {
  try {
    await Promise.race([
      readState(deps),
      sleep(TIMEOUT_MS).then(() => Promise.reject(new Error('the database is slow'))),
    ]);
  } catch (error) {
    deps.log.warn({ err: error }, 'the state cannot be measured');
    for (const gauge of Object.values(deps.metrics.state)) gauge.reset();
  }
}

async function readState({ db, clock, config, metrics: { state } }: MeasuredDeps): Promise<void> {
  const { pool, applicationName } = db;
  const [rounds, devices, releases, assignments, connections, backlog] = await Promise.all([
    countRounds(pool),
    countDevices(pool),
    countReleases(pool),
    countOpenAssignments(pool),
    countConnections(pool, applicationName),
    findBacklog(pool),
  ]);
  for (const gauge of Object.values(state)) gauge.reset();
  for (const { kind, state: is, reason, rounds: number } of rounds) {
    state.rounds.set(
      { kind, state: is, outcome: reason ?? (is === 'completed' ? 'published' : 'open') },
      number,
    );
  }
  for (const row of devices) state.devices.set({ state: row.state }, row.devices);
  for (const row of releases) state.releases.set({ state: row.state }, row.releases);
  for (const kind of ['train', 'evaluate']) state.openAssignments.set({ kind }, 0);
  for (const row of assignments) state.openAssignments.set({ kind: row.kind }, row.assignments);
  for (const row of connections) state.connections.set({ state: row.state }, row.connections);
  const now = clock.now().getTime();
  const ageSeconds = (instant: string | null) =>
    instant === null ? 0 : Math.max(0, now - Date.parse(instant)) / 1000;
  state.connectionsMax.set(config.databaseConnections);
  state.eventLag.set(ageSeconds(backlog.event));
  state.auditLag.set(ageSeconds(backlog.audit));
  state.pendingFolds.set(backlog.pendingFolds);
  state.deadBlobs.set(backlog.deadBlobs);
  state.catalogFaults.set(backlog.catalogFaults);
  const renewedAt = backlog.lease === null ? now : Date.parse(backlog.lease) - config.leaseMs;
  state.leaseAge.set(Math.max(0, now - renewedAt) / 1000);
}
