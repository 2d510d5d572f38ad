import { describe, expect, test } from 'vitest';
import { coverage, createRandom, place } from '../../infra/placement.ts';
import type { ClientCandidate, ClientSettings } from '../../infra/settings.ts';

const CASES = 200;

describe('placement', () => {
  test(`is as good as the best one, or within a twentieth of it, in ${CASES} small cases`, () => {
    const ratios = Array.from({ length: CASES }, (_, seed) => {
      const request = drawRequest(seed);
      const best = bestCoverage(request);
      return best === 0 ? 1 : place(request).covered / best;
    });

    expect(Math.min(...ratios)).toBeGreaterThanOrEqual(0.95);
    expect(Math.max(...ratios)).toBeLessThanOrEqual(1);
    expect(ratios.filter((ratio) => ratio === 1).length).toBeGreaterThan(0.95 * CASES);
  });

  test('beats greedy alone where the best first choice is the wrong one', () => {
    const request: ClientSettings = {
      agents: 2,
      labels: {},
      seed: 1,
      nodes: [{ name: 'n', cpuMillis: 1000, memoryMb: 1000 }],
      candidates: [
        candidate('wide', { a: 60, b: 60 }, { cpuMillis: 1000 }),
        candidate('left', { a: 100 }, { cpuMillis: 500 }),
        candidate('right', { b: 100 }, { cpuMillis: 500 }),
      ],
    };

    expect(place(request).placed.map((each) => each.candidate.name)).toEqual(['left', 'right']);
  });

  test.each(Array.from({ length: 20 }, (_, seed) => seed))('keeps to what was asked (case %i)', (seed) => {
    const request = drawRequest(1000 + seed);
    const { placed, covered, coverable, missing } = place(request);

    expect(placed.length + missing).toBe(request.agents);
    expect(covered).toBe(coverage(placed.map((each) => each.candidate)));
    expect(covered).toBeLessThanOrEqual(coverable);
    for (const { name, cpuMillis, memoryMb } of request.nodes) {
      const here = placed.filter(({ node }) => node.name === name).map((each) => each.candidate);
      expect(here.reduce((all, each) => all + each.cpuMillis, 0)).toBeLessThanOrEqual(cpuMillis);
      expect(here.reduce((all, each) => all + each.memoryMb, 0)).toBeLessThanOrEqual(memoryMb);
      expect(here.every((each) => each.nodes.includes(name))).toBe(true);
    }
  });

  test('is the same for the same seed', () => {
    expect(place(drawRequest(7))).toEqual(place(drawRequest(7)));
  });

  test('takes candidates with the asked labels alone', () => {
    const request: ClientSettings = {
      ...drawRequest(3),
      agents: 10,
      labels: { site: 'lab' },
      nodes: [{ name: 'n', cpuMillis: 9000, memoryMb: 9000 }],
      candidates: [
        candidate('a', { x: 5 }, { labels: { site: 'lab' } }),
        candidate('b', { y: 500 }, { labels: { site: 'plant' } }),
      ],
    };
    const { placed, missing } = place(request);

    expect(placed.map((each) => each.candidate.name)).toEqual(['a']);
    expect(missing).toBe(9);
  });

  test('counts a part of the data once, at its best', () => {
    expect(coverage([candidate('a', { x: 5, y: 1 }), candidate('b', { x: 7 })])).toBe(8);
  });
});

function candidate(
  name: string,
  covers: Record<string, number>,
  more: Partial<ClientCandidate> = {},
): ClientCandidate {
  return {
    name,
    covers,
    labels: {},
    nodes: ['n'],
    cpuMillis: 100,
    memoryMb: 100,

    claim: name,
    ...more,
  };
}

/** Up to nine candidates, three nodes that cannot take them all, overlapping data. */
function drawRequest(seed: number): ClientSettings {
  const random = createRandom(seed);
  const upTo = (most: number) => 1 + Math.floor(random() * most);
  const nodes = ['n1', 'n2', 'n3'].map((name) => ({
    name,
    cpuMillis: 500 + 100 * upTo(10),
    memoryMb: 500 + 100 * upTo(15),
  }));
  const candidates = Array.from({ length: 5 + upTo(4) }, (_, index) =>
    candidate(
      `c${index}`,
      Object.fromEntries(Array.from({ length: upTo(4) }, () => [`part${upTo(8)}`, upTo(1000)])),
      {
        nodes: nodes.map(({ name }) => name).filter((_, at) => at === index % 3 || random() < 0.5),
        cpuMillis: 100 * upTo(9),
        memoryMb: 100 * upTo(12),
      },
    ),
  );
  return { agents: 1 + upTo(5), labels: {}, seed, nodes, candidates };
}

/** Every assignment of candidates to nodes; branches that cannot be better any more are left out. */
function bestCoverage({ agents, nodes, candidates }: ClientSettings): number {
  let best = 0;
  const free = nodes.map(({ cpuMillis, memoryMb }) => ({ cpuMillis, memoryMb }));
  const visit = (index: number, taken: ClientCandidate[]): void => {
    best = Math.max(best, coverage(taken));
    if (index === candidates.length || taken.length === agents) return;
    if (coverage([...taken, ...candidates.slice(index)]) <= best) return;
    const each = candidates[index]!;
    for (const [at, { name }] of nodes.entries()) {
      const left = free[at]!;
      if (!each.nodes.includes(name) || each.cpuMillis > left.cpuMillis || each.memoryMb > left.memoryMb)
        continue;
      free[at] = { cpuMillis: left.cpuMillis - each.cpuMillis, memoryMb: left.memoryMb - each.memoryMb };
      visit(index + 1, [...taken, each]);
      free[at] = left;
    }
    visit(index + 1, taken);
  };
  visit(0, []);
  return best;
}
