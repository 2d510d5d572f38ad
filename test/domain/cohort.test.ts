import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { drawCohort, INITIAL_DROP_OUT, invitesForQuorum, observedDropOut } from '../../api/domain/cohort.ts';

describe('invitesForQuorum', () => {
  it.each([
    [0.06, [8, 14, 26, 60, 116, 551, 1091]],
    [0.1, [9, 16, 29, 65, 124, 582, 1147]],
    [0.2, [12, 20, 35, 77, 144, 666, 1307]],
    [0.3, [15, 24, 42, 91, 170, 771, 1508]],
  ])('agrees with the binomial table at a drop-out of %d', (dropOut, expected) => {
    const quorums = [5, 10, 20, 50, 100, 500, 1000];
    expect(quorums.map((quorum) => invitesForQuorum(quorum, dropOut))).toEqual(expected);
  });

  it('invites nobody in vain when nobody drops out', () => {
    expect(invitesForQuorum(7, 0)).toBe(7);
  });

  it('finds the least number also for the largest quorum', () => {
    const invites = invitesForQuorum(100_000, 1);
    expect(invites).toBeGreaterThan(2_000_000);
    expect(invites).toBeLessThan(2_100_000);
  });

  it('stays finite when everybody dropped out', () => {
    expect(invitesForQuorum(10, 1)).toBeGreaterThan(10);
  });

  it('never falls when the drop-out grows', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.double({ min: 0, max: 0.5, noNaN: true }),
        fc.double({ min: 0, max: 0.4, noNaN: true }),
        (quorum, dropOut, more) =>
          invitesForQuorum(quorum, dropOut + more) >= invitesForQuorum(quorum, dropOut),
      ),
    );
  });
});

describe('observedDropOut', () => {
  it('assumes one before any round was seen', () => {
    expect(observedDropOut([])).toBe(INITIAL_DROP_OUT);
    expect(observedDropOut([{ accepted: 0, dropped: 0 }])).toBe(INITIAL_DROP_OUT);
  });

  it('gives way to what was seen, weighed by devices', () => {
    const rounds = [
      { accepted: 10_000, dropped: 0 },
      { accepted: 20_000, dropped: 10_000 },
    ];
    expect(observedDropOut(rounds)).toBeCloseTo(0.25, 3);
  });

  it('does not believe after one good round that nobody ever drops out', () => {
    const dropOut = observedDropOut([{ accepted: 5, dropped: 0 }]);
    expect(dropOut).toBeGreaterThan(0.1);
    expect(dropOut).toBeLessThan(INITIAL_DROP_OUT);
  });
});

describe('drawCohort', () => {
  const ids = fc.uniqueArray(fc.uuid(), { maxLength: 40 });

  it('draws without repetition, from the candidates, as many as asked for', () => {
    fc.assert(
      fc.property(ids, fc.nat(60), fc.integer(), (candidates, count, seed) => {
        const cohort = drawCohort(candidates, count, seed);
        expect(new Set(cohort).size).toBe(Math.min(count, candidates.length));
        expect(cohort.every((id) => candidates.includes(id))).toBe(true);
      }),
    );
  });

  it('depends on the seed and the set, not on the order of the candidates', () => {
    fc.assert(
      fc.property(ids, fc.nat(40), fc.integer(), (candidates, count, seed) => {
        expect(drawCohort([...candidates].reverse(), count, seed)).toEqual(
          drawCohort(candidates, count, seed),
        );
      }),
    );
  });

  it('gives every candidate about the same chance', () => {
    const candidates = Array.from({ length: 20 }, (_, i) => `device-${i}`);
    const drawn = new Map<string, number>();
    for (let seed = 0; seed < 4000; seed += 1) {
      for (const id of drawCohort(candidates, 5, seed)) drawn.set(id, (drawn.get(id) ?? 0) + 1);
    }
    for (const id of candidates) expect(Math.abs(drawn.get(id)! - 1000)).toBeLessThan(150);
  });
});
