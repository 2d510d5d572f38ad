import { createRandom } from './random.ts';

/** The drop-out that is assumed before any round was seen. */
export const INITIAL_DROP_OUT = 0.2;
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
  let invites = quorum;
  while (upperTail(invites, answer, quorum) < CONFIDENCE) invites += 1;
  return invites;
}

/** The share of invited devices that did not answer, over the given rounds; the initial assumption without any. */
export function observedDropOut(rounds: readonly { invited: number; accepted: number }[]): number {
  const invited = rounds.reduce((sum, round) => sum + round.invited, 0);
  if (invited === 0) return INITIAL_DROP_OUT;
  const accepted = rounds.reduce((sum, round) => sum + round.accepted, 0);
  return Math.max(0, 1 - accepted / invited);
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
