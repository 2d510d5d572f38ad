import type { Deps } from '../deps.ts';
import { drawCohort, invitesForQuorum, observedDropOut } from '../domain/cohort.ts';
import { averageMetrics } from '../domain/metrics.ts';
import { closedState, type RoundKind } from '../domain/round.ts';
import { runEnd } from '../domain/run.ts';
import { findForbiddenAssignments, settleAssignment } from '../store/assignments.ts';
import type { Queryable } from '../store/database.ts';
import { newId } from '../store/ids.ts';
import { failLockedRound, lockRound, lockRunOfRound, type RoundRow } from '../store/round-locks.ts';
import {
  addInvited,
  completeEvaluation,
  endRun,
  insertRound,
  nextEvaluationNumber,
  startAggregating,
  startCollecting,
} from '../store/round-moves.ts';
import * as store from '../store/rounds.ts';
import { listEvaluations } from '../store/updates.ts';

const INSERT_BATCH = 5000;
const SEED_STEP = 0x9e3779b1;

/**
 * One pass of the round clock: everything that is due happens, each thing in one transaction that any number of
 * workers may try at once. Whatever it changes wakes the workers again, so one pass need not do it all.
 */
export async function advanceRounds(deps: Deps): Promise<void> {
  const { pool } = deps.db;
  for (const assignment of await findForbiddenAssignments(pool)) await expireForbidden(deps, assignment);
  for (const { id } of await store.listUnsettledRounds(pool, deps.clock.now())) await settleRound(deps, id);
  for (const { id } of await store.listClosedEvaluations(pool)) await sumUpEvaluation(deps, id);
  for (const { id } of await store.listActiveRuns(pool)) await advanceRun(deps, id);
  for (const { id } of await store.listPendingRounds(pool)) await drawRound(deps, id);
}

/** A revoked device's assignment expires, so that its round invites a replacement. */
async function expireForbidden(deps: Deps, assignment: { id: string; roundId: string }): Promise<void> {
  const now = deps.clock.now();
  await deps.db.transaction((tx) =>
    settleAssignment(tx, assignment, { state: 'expired', reason: 'device_revoked', now }),
  );
}

/** An active run opens what is next: an evaluate round that is due, then a train round, or it ends. */
async function advanceRun(deps: Deps, runId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const run = await store.lockActiveRun(tx, runId);
    if (!run) return;
    const now = deps.clock.now();
    const open = await store.listOpenRounds(tx, run.id);
    const head = await store.findHead(tx, run.modelId);
    if (head === null) return;
    const training = open.some(({ kind }) => kind === 'train');
    if (!open.some(({ kind }) => kind === 'evaluate')) await openDueEvaluation(tx, run, head, now);
    if (training) return;
    const end = runEnd(run, now);
    if (end) await endRun(tx, run, end, now);
    else await openRound(tx, run, 'train', { number: run.lastRound + 1, baseVersion: head, now });
  });
}

async function openDueEvaluation(tx: Queryable, run: store.RunRow, head: number, now: Date): Promise<void> {
  const { evaluate } = run.settings;
  if (!evaluate || run.completedRounds === 0 || run.completedRounds % evaluate.everyRounds !== 0) return;
  if (await store.wasEvaluated(tx, run.id, head)) return;
  const number = await nextEvaluationNumber(tx, run.id);
  await openRound(tx, run, 'evaluate', { number, baseVersion: head, now });
}

async function openRound(
  tx: Queryable,
  run: store.RunRow,
  kind: RoundKind,
  { number, baseVersion, now }: { number: number; baseVersion: number; now: Date },
): Promise<void> {
  const { settings } = run;
  const { quorum, capacity } = kind === 'train' ? settings : settings.evaluate!;
  await insertRound(tx, {
    id: newId(now),
    federationId: run.federationId,
    runId: run.id,
    modelId: run.modelId,
    kind,
    number,
    state: 'pending',
    baseVersion,
    seed: (settings.seed + Math.imul(number, SEED_STEP)) | 0,
    quorum,
    capacity,
    openedAt: now,
    pendingUntil: new Date(now.getTime() + settings.pendingMs),
  });
}

/** A pending round draws its cohort once enough devices are there, or fails when it has waited too long. */
async function drawRound(deps: Deps, roundId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const run = await lockRunOfRound(tx, roundId, { skipLocked: true });
    const round = run && (await lockRound(tx, roundId, 'pending'));
    if (!round) return;
    const now = deps.clock.now();
    const eligible = await findEligible(tx, round, now);
    if (eligible.length >= round.quorum) await inviteCohort(tx, round, run, eligible, now);
    else if (now >= round.pendingUntil) await failLockedRound(tx, round, 'too_few_devices', now);
  });
}

async function inviteCohort(
  tx: Queryable,
  round: RoundRow,
  run: store.RunRow,
  eligible: string[],
  now: Date,
): Promise<void> {
  const dropOut = observedDropOut(await store.listRecentTurnout(tx, run.id, round.kind));
  const target = Math.min(invitesForQuorum(round.quorum, dropOut), eligible.length);
  const invited = await invite(tx, round, drawCohort(eligible, target, round.seed), now);
  const { deadlineMs } = round.kind === 'train' ? run.settings : run.settings.evaluate!;
  const deadlineAt = new Date(now.getTime() + deadlineMs);
  await startCollecting(tx, round, { target, invited, population: eligible.length, now, deadlineAt });
}

/** A collecting round invites replacements for assignments that were given back, or closes. */
async function settleRound(deps: Deps, roundId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const run = await lockRunOfRound(tx, roundId, { skipLocked: true });
    const round = run && (await lockRound(tx, roundId, 'collecting'));
    if (!round) return;
    const now = deps.clock.now();
    if (now < round.deadlineAt!) {
      const replaced = await inviteReplacements(tx, round, now);
      if (replaced > 0 || round.openAssignments > 0) return;
    }
    if (closedState(round.accepted, round.quorum) === 'failed') {
      await failLockedRound(tx, round, 'below_quorum', now);
    } else {
      await startAggregating(tx, round, now);
    }
  });
}

async function inviteReplacements(tx: Queryable, round: RoundRow, now: Date): Promise<number> {
  const missing = round.target - round.accepted - round.openAssignments;
  if (missing <= 0) return 0;
  const eligible = await findEligible(tx, round, now);
  const made = await invite(tx, round, drawCohort(eligible, missing, round.seed + round.invited), now);
  if (made > 0) await addInvited(tx, round, made);
  return made;
}

async function sumUpEvaluation(deps: Deps, roundId: string): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const round = await lockRound(tx, roundId, 'aggregating');
    if (!round) return;
    const metrics = averageMetrics(await listEvaluations(tx, roundId));
    await completeEvaluation(tx, round, metrics, deps.clock.now());
  });
}

async function findEligible(tx: Queryable, round: RoundRow, now: Date): Promise<string[]> {
  return store.findEligibleDevices(tx, round, await store.findRunOfRound(tx, round.runId), now);
}

/** In the order of ids: two rounds that invite the same devices at once must not wait for each other in a circle. */
async function invite(tx: Queryable, round: RoundRow, deviceIds: string[], now: Date): Promise<number> {
  const ordered = [...deviceIds].sort();
  let made = 0;
  for (let start = 0; start < ordered.length; start += INSERT_BATCH) {
    const rows = ordered.slice(start, start + INSERT_BATCH).map((deviceId) => ({
      id: newId(now),
      federationId: round.federationId,
      roundId: round.id,
      deviceId,
      kind: round.kind,
      state: 'open' as const,
      createdAt: now,
    }));
    made += await store.insertAssignments(tx, rows);
  }
  return made;
}
