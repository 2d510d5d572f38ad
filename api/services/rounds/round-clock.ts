import type { Deps } from '../../deps.ts';
import { averageMetrics } from '../../domain/metrics.ts';
import { closedState, type RoundKind } from '../../domain/round.ts';
import { isEvaluationDue, runEnd } from '../../domain/run.ts';
import type { Queryable } from '../../store/database.ts';
import { newId } from '../../store/ids.ts';
import { listTasks, type Task } from '../../store/rounds/agenda.ts';
import { expireRevoked } from '../../store/rounds/assignments.ts';
import { listEvaluations } from '../../store/rounds/evaluations.ts';
import {
  failLockedRound,
  lockActiveRun,
  lockRound,
  lockRunOfRound,
  type RoundRow,
  type RunRow,
} from '../../store/rounds/round-locks.ts';
import { completeEvaluation, endRun, insertRound, startAggregating } from '../../store/rounds/round-moves.ts';
import { findEvaluationProgress, findSituation } from '../../store/rounds/rounds.ts';
import { inviteCohort, inviteReplacements } from './cohorts.ts';

const SEED_STEP = 0x9e3779b1;
/** So that the devices that evaluate are not those that have just trained. */
const EVALUATE_SEED = 0x6a09e667;

const work: Record<Task['task'], (deps: Deps, id: string) => Promise<void>> = {
  settle: settleRound,
  sum_up: sumUpEvaluation,
  advance: advanceRun,
  draw: drawRound,
};

/**
 * One pass of the round clock: everything that is due happens, each thing in one transaction that any number of
 * workers may try at once. What it changes wakes the workers again, so one pass need not do it all. A thing that fails
 * does not keep the others from happening; the first failure is thrown at the end.
 */
export async function advanceRounds(deps: Deps): Promise<void> {
  const failures: unknown[] = [];
  for (const { task, id } of await listTasks(deps.db.pool, deps.clock.now())) {
    await work[task](deps, id).catch((error: unknown) => {
      deps.log.warn({ err: error, task, id }, 'the round clock could not do something');
      failures.push(error);
    });
  }
  if (failures.length > 0) throw failures[0];
}

/** An active run opens what is next: an evaluate round that is due, a train round; or it ends. */
async function advanceRun(deps: Deps, runId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const run = await lockActiveRun(tx, runId);
    if (!run) return;
    const now = deps.clock.now();
    const { head, isTraining, isEvaluating } = await findSituation(tx, run);
    if (head === null) return;
    const end = isTraining ? undefined : runEnd(run, now);
    if (!isEvaluating) await openDueEvaluation(tx, run, { isOver: end !== undefined, now });
    if (end) await endRun(tx, run, end, now);
    else if (!isTraining) {
      await openRound(tx, run, 'train', { number: run.lastRound + 1, baseVersion: head, now });
    }
  });
}

/** The caller holds the run's lock; no evaluate round of it is open. */
async function openDueEvaluation(
  tx: Queryable,
  run: RunRow,
  { isOver, now }: { isOver: boolean; now: Date },
): Promise<void> {
  const { evaluate } = run.settings;
  if (!evaluate || run.completedRounds === 0) return;
  const { published, evaluated } = await findEvaluationProgress(tx, run.id);
  if (published === undefined) return;
  const { completedRounds } = run;
  // Versions are gapless, and none but the run's own come while it runs.
  const evaluatedRounds = evaluated ? completedRounds - (published - evaluated.baseVersion) : 0;
  if (!isEvaluationDue({ completedRounds, evaluatedRounds, isOver }, evaluate.everyRounds)) return;
  const number = (evaluated?.number ?? 0) + 1;
  await openRound(tx, run, 'evaluate', { number, baseVersion: published, now });
}

/** An evaluate round has ended, perhaps after its run: the version that came meanwhile may be due. */
async function openNextEvaluation(tx: Queryable, run: RunRow, ended: RoundRow, now: Date): Promise<void> {
  if (ended.kind !== 'evaluate' || run.state === 'paused' || run.state === 'stopped') return;
  await openDueEvaluation(tx, run, { isOver: run.state !== 'active', now });
}

async function openRound(
  tx: Queryable,
  run: RunRow,
  kind: RoundKind,
  { number, baseVersion, now }: { number: number; baseVersion: number; now: Date },
): Promise<void> {
  const { settings } = run;
  const { quorum, capacity } = kind === 'train' ? settings : settings.evaluate!;
  const seed = settings.seed + Math.imul(number, SEED_STEP) + (kind === 'train' ? 0 : EVALUATE_SEED);
  const round = await insertRound(tx, {
    id: newId(now),
    federationId: run.federationId,
    runId: run.id,
    modelId: run.modelId,
    kind,
    number,
    state: 'pending',
    baseVersion,
    seed: seed | 0,
    quorum,
    capacity,
    openedAt: now,
    pendingUntil: new Date(now.getTime() + settings.pendingMs),
  });
  await inviteCohort(tx, round, run, now);
}

/** A pending round draws its cohort once enough devices are there, or fails when it has waited too long. */
async function drawRound(deps: Deps, roundId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const run = await lockRunOfRound(tx, roundId, { skipLocked: true });
    const round = run && (await lockRound(tx, roundId, 'pending'));
    if (!round) return;
    const now = deps.clock.now();
    if ((await inviteCohort(tx, round, run, now)) || now < round.pendingUntil) return;
    await failLockedRound(tx, round, 'too_few_devices', now);
    await openNextEvaluation(tx, run, round, now);
  });
}

/**
 * A collecting round expires what revoked devices have open, invites replacements for what it has lost, or closes. One
 * thing in a transaction: the next pass sees what it led to.
 */
async function settleRound(deps: Deps, roundId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const run = await lockRunOfRound(tx, roundId, { skipLocked: true });
    const locked = run && (await lockRound(tx, roundId, 'collecting'));
    if (!locked) return;
    const now = deps.clock.now();
    const revoked = await expireRevoked(tx, locked.id, now);
    const round: RoundRow = {
      ...locked,
      openAssignments: locked.openAssignments - revoked,
      dropped: locked.dropped + revoked,
    };
    if (now < round.deadlineAt!) {
      const replaced = await inviteReplacements(tx, round, run, now);
      if (replaced > 0 || round.openAssignments > 0) return;
    }
    if (closedState(round.accepted, round.quorum) === 'aggregating') {
      await startAggregating(tx, round, now);
      return;
    }
    await failLockedRound(tx, round, 'below_quorum', now);
    await openNextEvaluation(tx, run, round, now);
  });
}

async function sumUpEvaluation(deps: Deps, roundId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const run = await lockRunOfRound(tx, roundId, { skipLocked: true });
    const round = run && (await lockRound(tx, roundId, 'aggregating'));
    if (!round) return;
    const now = deps.clock.now();
    await completeEvaluation(tx, round, averageMetrics(await listEvaluations(tx, roundId)), now);
    await openNextEvaluation(tx, run, round, now);
  });
}
