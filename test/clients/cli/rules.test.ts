import { describe, expect, it } from 'vitest';
import {
  parseBake,
  parseGate,
  parseLabels,
  parsePercent,
  planCohorts,
} from '../../../clients/cli/releases/rules.ts';
import { formatDuration, parseDuration } from '../../../clients/cli/terminal/durations.ts';
import { previousContent } from '../../../clients/cli/workspace/history.ts';

describe('rules', () => {
  it.each([
    ['accuracy>=0.9', { metric: 'accuracy', atLeast: 0.9, reports: 2 }],
    ['loss<=3e-1', { metric: 'loss', atMost: 0.3, reports: 2 }],
    ['delta>=-1', { metric: 'delta', atLeast: -1, reports: 2 }],
  ])('reads the gate %s', (text, gate) => {
    expect(parseGate(text, 2)).toEqual(gate);
  });

  it.each(['accuracy', 'accuracy>0.9', '>=0.9', 'accuracy>=high', 'a b>=1'])(
    'refuses the gate %s',
    (text) => {
      expect(() => parseGate(text, 1)).toThrow('is no gate');
    },
  );

  it('reads steps, and refuses those that fall, pass 100 or are none', () => {
    expect(parsePercent('0, 0.5,25,100')).toEqual([0, 0.5, 25, 100]);
    for (const text of ['25,5', '101', '', '5,', 'all'])
      expect(() => parsePercent(text)).toThrow('no list of steps');
  });

  it('lets canaries go first', () => {
    expect(planCohorts(['site=lab', 'site=office', 'tier=gold'], undefined)).toEqual([
      { name: 'canary', labels: { site: ['lab', 'office'], tier: ['gold'] }, percent: [100] },
      { name: 'everyone', percent: [0, 100] },
    ]);
    expect(planCohorts(undefined, '5,100')).toEqual([{ name: 'everyone', percent: [5, 100] }]);
    expect(planCohorts(undefined, undefined)).toBeUndefined();
    expect(() => parseLabels(['lab'])).toThrow('is no label');
  });
});

it.each([
  ['90', 90],
  ['10m', 600],
  ['1h30m', 5400],
  ['2d', 172_800],
  ['soon', undefined],
  ['10 m', undefined],
  ['', undefined],
])('takes %s for %s seconds', (text, seconds) => {
  expect(parseDuration(text)).toBe(seconds);
  if (seconds === undefined) expect(() => parseBake(text)).toThrow('is no duration');
});

it.each([
  [0, '0s'],
  [59.6, '1m'],
  [5400, '1h 30m'],
  [90_061, '1d 1h'],
  [-5, '0s'],
])('tells %s seconds as %s', (seconds, text) => {
  expect(formatDuration(seconds)).toBe(text);
});

it.each([
  // Newest first, as git tells it.
  ['BA', 'A'],
  ['BBA', 'A'],
  ['BCBA', 'A'],
  ['CBA', 'B'],
  ['BABA', 'A'],
  ['ABA', undefined],
  ['A', undefined],
  ['', undefined],
])('goes back from %s to %s', (history, wanted) => {
  const contents = [...history].map((text, index) => ({ commit: String(index), text }));
  expect(previousContent(contents, (a, b) => a === b)?.text).toBe(wanted);
});
