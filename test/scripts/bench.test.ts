import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { compare } from '../../scripts/bench/measure.ts';
import { writeTable } from '../../scripts/bench/report.ts';
import { percentile, takeTurns } from '../../scripts/bench/statistics.ts';

const root = new URL('../..', import.meta.url).pathname;

function bench(...args: string[]) {
  return spawnSync(process.execPath, ['scripts/bench.ts', ...args], { cwd: root, encoding: 'utf8' });
}

describe.skipIf(process.platform !== 'linux')('npm run bench', () => {
  test('the last line is an object with the rounds of real processes', () => {
    const { status, stdout, stderr } = bench('rounds', '--quick', '--json');
    expect(status, stderr).toBe(0);
    const report = JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
    expect(report).toMatchObject({
      bench: 'rounds',
      machine: { node: process.version, cores: expect.any(Number), cpu: expect.any(String) },
    });
    expect(report.rows).toHaveLength(1);
    const [row] = report.rows;
    expect(row).toMatchObject({ devices: 3, parameters: 10_000, unit: 's a round' });
    expect(row.figure).toBeGreaterThan(0);
    expect(row.peerFigure).toBeGreaterThan(0);
    expect(row.ratio).toBeCloseTo(row.peerFigure / row.figure, 2);
    expect(row.peakMb).toBeGreaterThan(30);
    expect(stderr).toContain('3 devices');
  });

  test.each([
    ['intake', 2],
    ['fold', 1],
    ['memory', 2],
    ['floor', 1],
    ['waiting', 4],
    ['downloads', 3],
  ])('%s prints rows, with a ratio where there is a peer', { timeout: 240_000 }, (name, least) => {
    const { status, stdout, stderr } = bench(name, '--quick', '--json');
    expect(status, stderr).toBe(0);
    const { rows } = JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as { rows: Record<string, unknown>[] };
    expect(rows.length).toBeGreaterThanOrEqual(least);
    for (const row of rows) {
      expect(row).toMatchObject({ unit: expect.any(String), figure: expect.any(Number) });
      const { peer, peerFigure, ratio } = row;
      expect([typeof peerFigure, typeof ratio], String(peer)).toEqual(
        peer === null ? ['object', 'object'] : ['number', 'number'],
      );
    }
    expect(stdout.trimEnd().split('\n')).toHaveLength(1);
  });

  test('names what there is when it is asked for something else', () => {
    const { status, stderr } = bench('speed');
    expect(status).toBe(2);
    expect(stderr).toContain('intake fold memory floor waiting downloads rounds');
  });
});

describe('compare', () => {
  test('a ratio above 1 is better than the peer, in speed as in time', () => {
    const speed = { unit: 'GB/s', figure: 3, peer: 'p', peerFigure: 2 };
    expect(compare({ ...speed, better: 'more' })).toMatchObject({ ratio: 1.5 });
    expect(compare({ ...speed, unit: 's', better: 'less' })).toMatchObject({ ratio: 0.6667 });
  });

  test('a goal is met only when both of its parts are', () => {
    const met = (figure: number, peerFigure?: number) =>
      compare({ unit: 'GB/s', better: 'more', figure, peerFigure, goal: { figure: 2, ratio: 1 } }).met;
    expect(met(3, 2.5)).toBe(true);
    expect(met(1.9, 1)).toBe(false);
    expect(met(3, 4)).toBe(false);
    expect(met(3)).toBe(false);
  });

  test('an aim tells how much of it is reached', () => {
    const row = compare({ unit: 'ms', better: 'less', figure: 40, goal: { figure: 60 }, aim: 30 });
    expect(row).toMatchObject({ goal: '<= 60', met: true, aim: 30, ofAim: 0.75, ratio: null });
  });
});

test('percentiles by rank, the median of an even count by the mean', () => {
  const values = [4, 1, 3, 2];
  expect([0, 0.5, 0.75, 0.99].map((part) => percentile(values, part))).toEqual([1, 2.5, 3, 4]);
});

test('contenders run in turns', async () => {
  const order: string[] = [];
  const contender = (name: string) => ({ name, run: async () => order.push(name) });
  const results = await takeTurns(2, [contender('A'), contender('B')]);
  expect(order).toEqual(['A', 'B', 'A', 'B']);
  expect(results.get('B')).toEqual([2, 4]);
});

test('a table has a column for everything that any row tells', () => {
  const rows = [
    { unit: 'GB/s', figure: 1.5, met: false },
    { unit: 'ms', figure: 20, aim: 30 },
  ];
  const [title, , head, first] = writeTable({ bench: 'x', machine: { cores: 2 }, rows }).split('\n');
  expect(title).toBe('x (cores 2)');
  expect(head!.split(/ +/)).toEqual(['unit', 'figure', 'met', 'aim']);
  expect(first!.split(/ +/)).toEqual(['GB/s', '1.5', 'NO', '-']);
});
