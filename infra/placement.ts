/**
 * Which agents to run where. Of the candidates with the asked labels it takes at most k, each on one of its nodes and
 * within every node's CPU and memory, so that the data that they see is as much as can be: a part of the data counts
 * once, with the examples of the agent that sees most of it (facility location: monotone and submodular).
 *
 * Greedy by gain and by gain for its cost (Nemhauser, Wolsey, Fisher 1978; Khuller, Moss, Naor 1999), then a large
 * neighbourhood search (Shaw 1998): some agents are taken back and the gap is filled another way. Pure and seeded: the
 * same request gives the same placement.
 */
import type { ClientCandidate, ClientNode, ClientSettings } from './settings.ts';

export interface Placement {
  placed: { candidate: ClientCandidate; node: ClientNode }[];
  /** Examples that the placed agents see. */
  covered: number;
  /** Examples that all candidates together see. */
  coverable: number;
  /** So many of the asked agents found no place, or there is no candidate. */
  missing: number;
}

/** Candidates and nodes by index; where a candidate runs, or `nowhere`. */
type Assignment = number[];
interface Problem {
  candidates: readonly ClientCandidate[];
  nodes: readonly ClientNode[];
  most: number;
}
type Score = (gain: number, cost: number) => number;

const nowhere = -1;
const ROUNDS = 400;
const byGain: Score = (gain) => gain;
const byGainForCost: Score = (gain, cost) => gain / (cost + 1e-9);

export function place({ agents, labels, seed, nodes, candidates }: ClientSettings): Placement {
  const wanted = Object.entries(labels);
  const matching = candidates.filter((each) => wanted.every(([name, value]) => each.labels[name] === value));
  const problem: Problem = { candidates: matching, nodes, most: agents };
  const assignment = search(problem, createRandom(seed));
  const placed = matching.flatMap((candidate, index) => {
    const node = nodes[assignment[index] ?? nowhere];
    return node ? [{ candidate, node }] : [];
  });
  return {
    placed,
    covered: coverage(placed.map(({ candidate }) => candidate)),
    coverable: coverage(matching),
    missing: agents - placed.length,
  };
}

/** Examples that at least one of them sees. */
export function coverage(candidates: readonly ClientCandidate[]): number {
  return sum(bestOf(candidates).values());
}

function search(problem: Problem, random: () => number): Assignment {
  const empty: Assignment = problem.candidates.map(() => nowhere);
  const starts = [byGain, byGainForCost].map((score) => fill(problem, empty, score, random));
  let best = starts.reduce((one, other) => (worth(problem, other) > worth(problem, one) ? other : one));
  for (let round = 0; round < ROUNDS; round += 1) {
    const score = random() < 0.5 ? byGain : byGainForCost;
    const next = fill(problem, takeSomeBack(best, random), score, random);
    if (worth(problem, next) >= worth(problem, best)) best = next;
  }
  return best;
}

/** Takes one to four agents back. */
function takeSomeBack(assignment: Assignment, random: () => number): Assignment {
  const running = assignment.flatMap((node, index) => (node === nowhere ? [] : [index]));
  const next = [...assignment];
  const several = 1 + Math.floor(random() * 4);
  for (let count = 0; count < several && running.length > 0; count += 1) {
    const [index] = running.splice(Math.floor(random() * running.length), 1);
    next[index!] = nowhere;
  }
  return next;
}

/** Adds the best candidate, again and again, until there are enough or none fits. */
function fill(problem: Problem, from: Assignment, score: Score, random: () => number): Assignment {
  const { candidates, most } = problem;
  const assignment = [...from];
  const free = freeOf(problem, assignment);
  const seen = bestOf(candidates.filter((_, index) => assignment[index] !== nowhere));
  // Some candidates come last, or the gap would be filled as it was.
  const late = new Set([...candidates.keys()].filter(() => random() < 0.15));
  let running = assignment.filter((node) => node !== nowhere).length;
  for (const bars of [late, new Set<number>()]) {
    while (running < most) {
      const choice = choose(problem, { assignment, free, seen, bars, score, random });
      if (!choice) break;
      const { index, node } = choice;
      const candidate = candidates[index]!;
      assignment[index] = node;
      free[node]!.cpuMillis -= candidate.cpuMillis;
      free[node]!.memoryMb -= candidate.memoryMb;
      for (const [part, examples] of Object.entries(candidate.covers)) {
        seen.set(part, Math.max(seen.get(part) ?? 0, examples));
      }
      running += 1;
    }
  }
  return assignment;
}

interface Choice {
  assignment: Assignment;
  free: ReturnType<typeof freeOf>;
  seen: ReadonlyMap<string, number>;
  bars: ReadonlySet<number>;
  score: Score;
  random: () => number;
}

function choose({ candidates, nodes }: Problem, choice: Choice): { index: number; node: number } | undefined {
  const { assignment, free, seen, bars, score, random } = choice;
  let best: { index: number; node: number; value: number } | undefined;
  for (const [index, candidate] of candidates.entries()) {
    if (assignment[index] !== nowhere || bars.has(index)) continue;
    const fitting = nodes.flatMap((node, at) => (fits(candidate, node, free[at]!) ? [at] : []));
    if (fitting.length === 0) continue;
    // The fullest node that still has room keeps large gaps whole; now and then another one.
    const tightest = fitting.reduce((one, other) =>
      free[other]!.memoryMb < free[one]!.memoryMb ? other : one,
    );
    const node = random() < 0.7 ? tightest : fitting[Math.floor(random() * fitting.length)]!;
    const { cpuMillis, memoryMb } = nodes[node]!;
    const cost = candidate.cpuMillis / cpuMillis + candidate.memoryMb / memoryMb;
    const value = score(gainOf(candidate, seen), cost);
    if (!best || value > best.value) best = { index, node, value };
  }
  return best;
}

function fits(
  candidate: ClientCandidate,
  node: ClientNode,
  free: { cpuMillis: number; memoryMb: number },
): boolean {
  const { nodes, cpuMillis, memoryMb } = candidate;
  return nodes.includes(node.name) && cpuMillis <= free.cpuMillis && memoryMb <= free.memoryMb;
}

function gainOf({ covers }: ClientCandidate, seen: ReadonlyMap<string, number>): number {
  return sum(Object.entries(covers).map(([part, examples]) => Math.max(0, examples - (seen.get(part) ?? 0))));
}

function freeOf({ candidates, nodes }: Problem, assignment: Assignment) {
  const free = nodes.map(({ cpuMillis, memoryMb }) => ({ cpuMillis, memoryMb }));
  for (const [index, node] of assignment.entries()) {
    if (node === nowhere) continue;
    free[node]!.cpuMillis -= candidates[index]!.cpuMillis;
    free[node]!.memoryMb -= candidates[index]!.memoryMb;
  }
  return free;
}

function worth({ candidates }: Problem, assignment: Assignment): number {
  return coverage(candidates.filter((_, index) => assignment[index] !== nowhere));
}

function bestOf(candidates: readonly ClientCandidate[]): Map<string, number> {
  const best = new Map<string, number>();
  for (const { covers } of candidates) {
    for (const [part, examples] of Object.entries(covers)) {
      best.set(part, Math.max(best.get(part) ?? 0, examples));
    }
  }
  return best;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Mulberry32: 32 bits of state, numbers from 0 to 1. */
export function createRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
