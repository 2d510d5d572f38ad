import { createRandom } from './random.ts';

/** The drop-out that is assumed before any round was seen ... */
export const INITIAL_DROP_OUT = 0.2;
/** ... which weighs as much as so many invitations: one good round does not prove that nobody ever drops out. */
const ASSUMED_INVITES = 10;
/** How many past rounds the observed drop-out covers. */
export const DROP_OUT_WINDOW = 20;
const CONFIDENCE = 0.999;
const MAX_DROP_OUT = 0.95;

/**
 * The least number of devices to invite so that at least `quorum` of them answer with 99.9 %, if each drops out
 * independently: the smallest n with P[Binomial(n, 1 - dropOut) >= quorum] >= 0.999.
 */
export function invitesForQuorum(quorum: number, dropOut: number): number {
  const answer = 1 - Math.min(Math.max(dropOut, 0), MAX_DROP_OUT);
  const suffices = (invites: number) => upperTail(invites, answer, quorum) >= CONFIDENCE;
  // More invites never make it less likely: double until they suffice, then halve the gap.
  let tooFew = quorum - 1;
  let enough = quorum;
  while (!suffices(enough)) {
    tooFew = enough;
    enough *= 2;
  }
  while (enough - tooFew > 1) {
    const middle = Math.floor((tooFew + enough) / 2);
    if (suffices(middle)) enough = middle;
    else tooFew = middle;
  }
  return enough;
}

/**
 * The share of devices that did not answer although they had the time, over the given rounds and the initial
 * assumption. Who was still at work when a round filled up did not drop out.
 */
export function observedDropOut(rounds: readonly { accepted: number; dropped: number }[]): number {
  const dropped = rounds.reduce((sum, round) => sum + round.dropped, 0);
  const accepted = rounds.reduce((sum, round) => sum + round.accepted, 0);
  return (dropped + INITIAL_DROP_OUT * ASSUMED_INVITES) / (accepted + dropped + ASSUMED_INVITES);
}

/** Draws `count` of the candidates by seed: a partial Fisher-Yates shuffle over ids in sorted order. */
export function drawCohort<T extends string>(candidates: readonly T[], count: number, seed: number): T[] {
  const random = createRandom(seed);
  const pool = [...candidates].sort();
  const drawn = Math.min(count, pool.length);
  for (let i = 0; i < drawn; i += 1) {
    const j = i + Math.floor(random() * (pool.length - i));
    [pool[i], pool[j]] = [pool[j]!, pool[i]!];
  }
  return pool.slice(0, drawn);
}

/** P[Binomial(n, p) >= k], summed in logarithms so that no factor under- or overflows. */
function upperTail(n: number, p: number, k: number): number {
  if (p >= 1) return n >= k ? 1 : 0;
  let logTerm = n * Math.log(1 - p);
  const logOdds = Math.log(p) - Math.log(1 - p);
  let below = 0;
  for (let i = 0; i < k; i += 1) {
    below += Math.exp(logTerm);
    logTerm += Math.log(n - i) - Math.log(i + 1) + logOdds;
  }
  return 1 - below;
}
