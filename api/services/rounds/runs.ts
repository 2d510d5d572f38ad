import { randomInt } from 'node:crypto';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { Page } from '../../domain/page.ts';
import type { Principal } from '../../domain/role.ts';
import type { RunSettings, RunState } from '../../domain/run.ts';
import { findStrategy, strategyNames } from '../../domain/strategies/index.ts';
import type { Queryable } from '../../store/database.ts';
import { newId } from '../../store/ids.ts';
import { recordAudit } from '../../store/journal/audit.ts';
import { channels, notify } from '../../store/journal/channels.ts';
import { recordEvent } from '../../store/journal/events.ts';
import { findModelSummary } from '../../store/models/models.ts';
import { hasOpenTrainRound, stopRounds } from '../../store/rounds/rounds.ts';
import * as store from '../../store/rounds/runs.ts';
import { actorOf } from '../identity/actors.ts';

export type RunView = store.RunView;
type RunDeps = Pick<Deps, 'db' | 'clock'>;

export interface RunRequest {
  model: string;
  name: string;
  endAt?: Date | undefined;
  /** Left out: `seed` is drawn, `capacity` is twice the quorum. */
  settings: Omit<RunSettings, 'seed' | 'capacity'> & Partial<Pick<RunSettings, 'seed' | 'capacity'>>;
}

const MAX_SEED = 2 ** 31 - 1;

/**
 * Begins to train a model; `also` is committed with the run. Throws `invalid_run` with the reason, `not_found`,
 * `no_version`, `model_busy`.
 */
export async function createRun(
  { db, clock }: RunDeps,
  operator: Principal,
  request: RunRequest,
  also: (tx: Queryable, run: RunView) => Promise<void> = async () => {},
): Promise<RunView> {
  const createdAt = clock.now();
  const settings = completeSettings(request, createdAt);
  const { federationId } = operator;
  return db.transaction(async (tx) => {
    const model = await findModelSummary(tx, federationId, request.model);
    if (!model) throw new FedEdgeError('not_found', { model: request.model });
    if (model.head === null) throw new FedEdgeError('no_version');
    const run = {
      id: newId(createdAt),
      federationId,
      name: request.name,
      modelId: model.id,
      state: 'active' as const,
      settings,
      endAt: request.endAt ?? null,
      createdAt,
    };
    if (!(await store.insertRun(tx, run))) throw new FedEdgeError('model_busy');
    // A run that was stopped may still publish what it had collected; the head moves then.
    if (await hasOpenTrainRound(tx, model.id)) throw new FedEdgeError('model_busy');
    const created = (await store.findRun(tx, federationId, run.id))!;
    await announce(tx, operator, created, { action: 'create', type: 'run.created', now: createdAt });
    await also(tx, created);
    await notify(tx, channels.work);
    return created;
  });
}

function completeSettings({ settings, endAt }: RunRequest, now: Date): RunSettings {
  const { capacity = 2 * settings.quorum, seed = randomInt(MAX_SEED), evaluate } = settings;
  const strategy = findStrategy(settings.strategy.name);
  if (!strategy) {
    throw refuse(`there is no strategy ${settings.strategy.name}; there are: ${strategyNames.join(', ')}`);
  }
  const parsed = strategy.parse(settings.strategy.parameters);
  if (!parsed.ok) throw refuse(parsed.reason);
  if (settings.quorum > capacity) throw refuse('quorum is greater than capacity');
  if (evaluate && evaluate.quorum > evaluate.capacity) {
    throw refuse('evaluate.quorum is greater than evaluate.capacity');
  }
  if (endAt && endAt <= now) throw refuse('endAt has passed');
  return { ...settings, capacity, seed };
}

const refuse = (reason: string) => new FedEdgeError('invalid_run', { reason });

/** The run with that id. Throws `not_found`. */
export async function requireRun(
  { db }: Pick<Deps, 'db'>,
  { federationId }: Principal,
  id: string,
): Promise<RunView> {
  const run = await store.findRun(db.pool, federationId, id);
  if (!run) throw new FedEdgeError('not_found');
  return run;
}

export function listRuns(
  { db }: Pick<Deps, 'db'>,
  { federationId }: Principal,
  { filter, page }: { filter: { model?: string; state?: RunState }; page: Page },
): Promise<RunView[]> {
  return store.listRuns(db.pool, { federationId, ...filter }, page);
}

interface RunChange {
  action: 'pause' | 'resume' | 'stop';
  from: readonly RunState[];
  to: RunState;
  type: string;
}

const changes = {
  pause: { action: 'pause', from: ['active'], to: 'paused', type: 'run.paused' },
  resume: { action: 'resume', from: ['paused'], to: 'active', type: 'run.resumed' },
  stop: { action: 'stop', from: ['active', 'paused'], to: 'stopped', type: 'run.stopped' },
} as const satisfies Record<string, RunChange>;

/** No further round opens; the one that is open finishes. Throws `not_found`, `conflict` with the state. */
export function pauseRun(deps: RunDeps, operator: Principal, id: string): Promise<RunView> {
  return changeRun(deps, operator, { id, change: changes.pause });
}

/** Rounds open again. Throws `not_found`, `conflict` with the state. */
export function resumeRun(deps: RunDeps, operator: Principal, id: string): Promise<RunView> {
  return changeRun(deps, operator, { id, change: changes.resume });
}

/**
 * Ends the run for ever: its pending or collecting rounds fail, one that aggregates still publishes. Throws
 * `not_found`, `conflict` with the state.
 */
export function stopRun(deps: RunDeps, operator: Principal, id: string): Promise<RunView> {
  return changeRun(deps, operator, { id, change: changes.stop });
}

/** One conditional UPDATE decides; where the run is in that state already, nothing happens. */
async function changeRun(
  { db, clock }: RunDeps,
  operator: Principal,
  { id, change }: { id: string; change: RunChange },
): Promise<RunView> {
  const now = clock.now();
  const { federationId } = operator;
  return db.transaction(async (tx) => {
    const ended = change.action === 'stop' ? { reason: 'stopped', endedAt: now } : {};
    const to = { state: change.to, ...ended };
    const moved = await store.moveRun(tx, { federationId, id, from: change.from }, to);
    const run = await store.findRun(tx, federationId, id);
    if (!run) throw new FedEdgeError('not_found');
    if (!moved && run.state !== change.to) throw new FedEdgeError('conflict', { state: run.state });
    if (!moved) return run;
    if (change.action === 'stop') await stopRounds(tx, id, now);
    await announce(tx, operator, run, { ...change, now });
    await notify(tx, channels.work);
    return run;
  });
}

async function announce(
  tx: Queryable,
  operator: Principal,
  { id, federationId, model, settings }: RunView,
  { action, type, now }: { action: string; type: string; now: Date },
): Promise<void> {
  await recordAudit(tx, {
    federationId,
    actor: actorOf(operator),
    action: `run.${action}`,
    target: `run:${id}`,
    details: action === 'create' ? { model, strategy: settings.strategy.name, rounds: settings.rounds } : {},
    createdAt: now,
  });
  await recordEvent(tx, { federationId, type, subject: { run: id, model }, createdAt: now });
  await notify(tx, channels.events);
}
