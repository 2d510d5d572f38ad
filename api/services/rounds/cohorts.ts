import { drawCohort, invitesForQuorum, observedDropOut } from '../../domain/cohort.ts';
import type { Queryable } from '../../store/database.ts';
import { newId } from '../../store/ids.ts';
import { findEligibleDevices } from '../../store/rounds/eligibility.ts';
import type { RoundRow, RunRow } from '../../store/rounds/round-locks.ts';
import { addInvited, startCollecting } from '../../store/rounds/round-moves.ts';
import { deleteAssignments, insertAssignments, listRecentTurnout } from '../../store/rounds/rounds.ts';

/**
 * Draws and invites the cohort of a locked pending round, if its quorum is there. It aims at so many devices that the
 * quorum is reached with 99.9 %, or at all that there are. False: the round has to wait.
 */
export async function inviteCohort(tx: Queryable, round: RoundRow, run: RunRow, now: Date): Promise<boolean> {
  const [eligible, turnout] = await Promise.all([
    findEligibleDevices(tx, round, run, { now, least: round.quorum }),
    listRecentTurnout(tx, run.id, round.kind),
  ]);
  const population = eligible.length;
  if (population < round.quorum) return false;
  const target = Math.min(invitesForQuorum(round.quorum, observedDropOut(turnout)), population);
  const invited = await invite(tx, round, drawCohort(eligible, target, round.seed), now);
  if (invited < round.quorum) {
    // Another round, drawn at the same time, took them.
    await deleteAssignments(tx, round.id);
    return false;
  }
  const { deadlineMs } = round.kind === 'train' ? run.settings : run.settings.evaluate!;
  const deadlineAt = new Date(now.getTime() + deadlineMs);
  await startCollecting(tx, round, { target, invited, population, now, deadlineAt });
  return true;
}

/** Invites devices in place of those that a locked collecting round has lost. Returns how many it found. */
export async function inviteReplacements(
  tx: Queryable,
  round: RoundRow,
  run: RunRow,
  now: Date,
): Promise<number> {
  const missing = round.target - round.accepted - round.openAssignments;
  if (missing <= 0) return 0;
  const eligible = await findEligibleDevices(tx, round, run, { now });
  const made = await invite(tx, round, drawCohort(eligible, missing, round.seed + round.invited), now);
  if (made > 0) await addInvited(tx, round, made);
  return made;
}

/** In the order of ids: two rounds that invite the same devices at once must not wait for each other in a circle. */
function invite(tx: Queryable, round: RoundRow, deviceIds: string[], now: Date): Promise<number> {
  const invited = [...deviceIds].sort().map((deviceId) => ({ id: newId(now), deviceId }));
  return insertAssignments(tx, round, invited, now);
}
