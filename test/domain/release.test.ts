import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  BUCKETS,
  bucketOf,
  type CohortRule,
  cohortOf,
  followsHeadAtOnce,
  isReached,
  type ReleaseStand,
  saltOf,
  settledVersion,
  stepsOf,
  versionFor,
} from '../../api/domain/release.ts';

const bucket = (text: string) => bucketOf(createHash('sha256').update(text).digest());
const cohort = (percent: number[], labels: Record<string, string[]> = {}, name = 'c'): CohortRule => ({
  name,
  labels,
  percent,
});
const stand = (rest: Partial<ReleaseStand> = {}, cohorts = [cohort([10, 100])]): ReleaseStand => ({
  state: 'rolling',
  step: 0,
  version: 7,
  previous: 6,
  document: { model: 'm', version: 7, cohorts, bakeSeconds: 0 },
  ...rest,
});

const share = fc.integer({ min: 0, max: BUCKETS }).map((part) => part / 100);
const buckets = fc.integer({ min: 0, max: BUCKETS - 1 });
const names = ['site', 'class'];
const labels = fc.dictionary(fc.constantFrom(...names), fc.constantFrom('lab', 'office', 'field'));
const rules = fc.array(
  fc.record({
    name: fc.string(),
    labels: fc.dictionary(
      fc.constantFrom(...names),
      fc.array(fc.constantFrom('lab', 'office', 'field'), { minLength: 1, maxLength: 2 }),
    ),
    percent: fc.constant([100]),
  }),
  { maxLength: 5 },
);

describe('a bucket', () => {
  it('is the first four bytes of the hash, big endian, modulo 10,000', () => {
    expect(bucketOf(Uint8Array.of(0, 0, 0x27, 0x10, 255))).toBe(0);
    expect(bucketOf(Uint8Array.of(0, 0, 0x27, 0x0f))).toBe(9999);
    expect(bucketOf(Uint8Array.of(0xff, 0xff, 0xff, 0xff))).toBe(7295);
    // SHA-256 of "abc" begins with ba7816bf: 3128432319.
    expect(bucket('abc')).toBe(2319);
  });

  it('is uniform over devices, and unrelated between salts', () => {
    const devices = 40_000;
    const counts = new Array<number>(20).fill(0);
    let both = 0;
    for (let device = 0; device < devices; device += 1) {
      const one = bucket(`one:${device}`);
      counts[Math.floor(one / 500)]! += 1;
      if (one < 5000 && bucket(`other:${device}`) < 5000) both += 1;
    }
    const expected = devices / counts.length;
    const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 19 degrees of freedom: 43.8 is passed by one in a thousand.
    expect(chiSquare).toBeLessThan(43.8);
    expect(both / devices).toBeGreaterThan(0.24);
    expect(both / devices).toBeLessThan(0.26);
  });
});

describe('a percentage', () => {
  it('only adds devices when it is raised', () => {
    fc.assert(
      fc.property(share, share, buckets, (a, b, device) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        return !isReached(cohort([low]), 0, device) || isReached(cohort([high]), 0, device);
      }),
    );
  });

  it('is exact to the hundredth of a per cent', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: BUCKETS }), (hundredths) => {
        const rule = cohort([hundredths / 100]);
        const reached = Array.from({ length: BUCKETS }, (_, device) => isReached(rule, 0, device));
        return reached.filter(Boolean).length === hundredths;
      }),
      { numRuns: 50 },
    );
  });

  it('of the last step holds on', () => {
    const rule = cohort([0, 50]);
    expect([0, 1, 2, 9].map((step) => isReached(rule, step, 4999))).toEqual([false, true, true, true]);
    expect(isReached(rule, 9, 5000)).toBe(false);
  });
});

describe('the cohort of a device', () => {
  it('is the first whose every label matches', () => {
    fc.assert(
      fc.property(rules, labels, (cohorts, device) => {
        const matches = cohorts.map((rule) =>
          Object.entries(rule.labels).every(([name, values]) =>
            (values as (string | undefined)[]).includes(device[name]),
          ),
        );
        const first = matches.indexOf(true);
        return cohortOf(cohorts, device) === (first === -1 ? undefined : cohorts[first]);
      }),
    );
  });

  it('needs a label to be there, even one that every object has', () => {
    expect(cohortOf([cohort([100], { constructor: ['x'] })], {})).toBeUndefined();
    expect(cohortOf([cohort([100], { site: [''] })], {})).toBeUndefined();
    expect(cohortOf([cohort([100], { site: [''] })], { site: '' })).toBeDefined();
  });
});

describe('what a device gets', () => {
  const device = { labels: {}, bucket: 500 };

  it.each([
    ['waiting', 6],
    ['rolling', 7],
    ['complete', 7],
    ['paused', 6],
    ['halted', 6],
  ] as const)('%s: %i', (state, version) => {
    expect(versionFor(stand({ state }), device)).toBe(version);
  });

  it('is the version before, or nothing, outside of the cohorts and above the step', () => {
    expect(versionFor(stand(), { labels: {}, bucket: 1000 })).toBe(6);
    expect(versionFor(stand({ step: 1 }), { labels: {}, bucket: 9999 })).toBe(7);
    const lab = [cohort([100], { site: ['lab'] })];
    expect(versionFor(stand({}, lab), { labels: { site: 'lab' }, bucket: 9999 })).toBe(7);
    expect(versionFor(stand({ previous: null }, lab), device)).toBeNull();
  });

  it('never goes back while the steps are taken', () => {
    const shares = fc.array(share, { minLength: 1, maxLength: 5 }).map((all) => all.sort((a, b) => a - b));
    fc.assert(
      fc.property(shares, buckets, (percent, one) => {
        const got = percent.map((_, step) =>
          versionFor(stand({ step }, [cohort(percent)]), { labels: {}, bucket: one }),
        );
        return got.lastIndexOf(6) < (got.includes(7) ? got.indexOf(7) : Infinity);
      }),
    );
  });

  it('is the settled version for who is no device', () => {
    const states = ['waiting', 'rolling', 'complete', 'paused', 'halted'] as const;
    expect(states.map((state) => settledVersion(stand({ state })))).toEqual([6, 6, 7, 6, 6]);
  });
});

it('a release has as many steps as its longest cohort', () => {
  expect(stepsOf([cohort([100]), cohort([5, 25, 100])])).toBe(3);
  expect(stepsOf([])).toBe(1);
});

it('each version has other canaries unless there is a salt', () => {
  const { document } = stand();
  expect(saltOf(document, 'ab')).toBe('m:ab');
  expect(saltOf({ ...document, salt: 's' }, 'ab')).toBe('s');
});

it('a channel follows the head at once where nothing is to be waited for', () => {
  const base = { model: 'm', channel: 'head', cohorts: [cohort([50])], bakeSeconds: 0 } as const;
  expect(followsHeadAtOnce(base)).toBe(true);
  expect(followsHeadAtOnce({ ...base, channel: undefined })).toBe(false);
  expect(followsHeadAtOnce({ ...base, bakeSeconds: 1 })).toBe(false);
  expect(followsHeadAtOnce({ ...base, cohorts: [cohort([5, 100])] })).toBe(false);
  expect(followsHeadAtOnce({ ...base, gate: { metric: 'loss', atMost: 1, reports: 1 } })).toBe(false);
});
