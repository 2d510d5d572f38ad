import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Facts, judgeGate, type Move, nextMove, type Progress } from '../../api/domain/rollout.ts';

const start = new Date('2026-01-31T12:00:00.000Z');
const at = (seconds: number) => new Date(start.getTime() + seconds * 1000);
const target = { found: true, version: 7, digest: 'd7' } as const;
const facts = (rest: Partial<Facts> = {}): Facts => ({ target, gate: undefined, now: start, ...rest });
const accuracy = { metric: 'accuracy', atLeast: 0.9, reports: 2 };

const progress = (rest: Partial<Progress> = {}, document: Partial<Progress['document']> = {}): Progress => ({
  state: 'rolling',
  step: 0,
  version: 7,
  previous: 6,
  reason: null,
  stepSince: start,
  document: {
    model: 'm',
    version: 7,
    cohorts: [
      { name: 'canary', labels: { site: ['lab'] }, percent: [100] },
      { name: 'everyone', labels: {}, percent: [5, 25, 100] },
    ],
    bakeSeconds: 600,
    ...document,
  },
  ...rest,
});

describe('the gate', () => {
  it('is open until enough devices have reported', () => {
    expect(judgeGate(accuracy, [])).toEqual({ verdict: 'open', value: null, reports: 0 });
    expect(judgeGate(accuracy, [{ value: 0.1, numExamples: 5 }])).toEqual({
      verdict: 'open',
      value: 0.1,
      reports: 1,
    });
  });

  it('weighs the devices by their examples', () => {
    const reports = [
      { value: 1, numExamples: 300 },
      { value: 0.5, numExamples: 100 },
    ];
    expect(judgeGate({ ...accuracy, atLeast: 0.875 }, reports)).toEqual({
      verdict: 'holds',
      value: 0.875,
      reports: 2,
    });
    expect(judgeGate(accuracy, reports).verdict).toBe('fails');
    expect(judgeGate({ metric: 'loss', atMost: 0.8, reports: 2 }, reports).verdict).toBe('fails');
    expect(judgeGate({ metric: 'loss', atMost: 0.9, reports: 2 }, reports).verdict).toBe('holds');
  });

  it('holds a mean that lies between the reports, whatever their size', () => {
    const report = fc.record({
      value: fc.double({ noNaN: true, noDefaultInfinity: true }),
      numExamples: fc.integer({ min: 1, max: 1e12 }),
    });
    fc.assert(
      fc.property(fc.array(report, { minLength: 1, maxLength: 20 }), (reports) => {
        const { value } = judgeGate({ ...accuracy, reports: 1 }, reports);
        const values = reports.map((one) => one.value);
        const slack = 1e-9 * Math.max(...values.map(Math.abs));
        expect(value).toBeGreaterThanOrEqual(Math.min(...values) - slack);
        expect(value).toBeLessThanOrEqual(Math.max(...values) + slack);
      }),
    );
  });
});

describe('a waiting release', () => {
  const waiting = (reason: string | null = null) => progress({ state: 'waiting', version: null, reason });

  it('rolls as soon as what it names is there', () => {
    expect(nextMove(waiting(), facts())).toEqual({ kind: 'roll', version: 7, digest: 'd7' });
  });

  it('says once why it waits', () => {
    const missing = facts({ target: { found: false, reason: 'no_version' } });
    expect(nextMove(waiting(), missing)).toEqual({ kind: 'wait', reason: 'no_version' });
    expect(nextMove(waiting('no_version'), missing)).toBeUndefined();
    const differs = facts({ target: { found: false, reason: 'digest_differs', detail: 'version 7 has ab' } });
    expect(nextMove(waiting('no_version'), differs)).toEqual({
      kind: 'wait',
      reason: 'digest_differs: version 7 has ab',
    });
  });

  it('tries a failed import again without a word', () => {
    const importing = facts({ target: { found: false, reason: 'importing' } });
    expect(nextMove(waiting(), importing)).toEqual({ kind: 'wait', reason: 'importing' });
    expect(nextMove(waiting('import_failed: 401'), importing)).toBeUndefined();
  });
});

describe('a rolling release', () => {
  it('takes a step when its bake time has passed, and is complete after the last', () => {
    expect(nextMove(progress(), facts({ now: at(599) }))).toBeUndefined();
    expect(nextMove(progress(), facts({ now: at(600) }))).toEqual({ kind: 'step', step: 1 });
    expect(nextMove(progress({ step: 1 }), facts({ now: at(600) }))).toEqual({ kind: 'step', step: 2 });
    expect(nextMove(progress({ step: 2 }), facts({ now: at(599) }))).toBeUndefined();
    expect(nextMove(progress({ step: 2 }), facts({ now: at(600) }))).toEqual({ kind: 'complete' });
  });

  it('takes no step while the gate is open', () => {
    const gate = judgeGate(accuracy, [{ value: 1, numExamples: 1 }]);
    expect(nextMove(progress({}, { gate: accuracy }), facts({ gate, now: at(6000) }))).toBeUndefined();
  });

  it('pauses as soon as the gate fails, whatever the bake time', () => {
    const gate = judgeGate(accuracy, [
      { value: 0.4, numExamples: 1 },
      { value: 0.5, numExamples: 1 },
    ]);
    expect(nextMove(progress({}, { gate: accuracy }), facts({ gate, now: at(1) }))).toEqual({
      kind: 'pause',
      reason: 'gate_failed: accuracy 0.45 is below 0.9, over 2 reports',
    });
    const atMost = { metric: 'loss', atMost: 0.2, reports: 1 };
    const loss = judgeGate(atMost, [{ value: 0.3, numExamples: 1 }]);
    expect(nextMove(progress({}, { gate: atMost }), facts({ gate: loss }))).toMatchObject({
      reason: 'gate_failed: loss 0.3 is above 0.2, over 1 report',
    });
  });
});

it.each(['paused', 'halted', 'superseded'] as const)('a %s release stays as it is', (state) => {
  expect(nextMove(progress({ state }), facts({ now: at(1e6) }))).toBeUndefined();
});

describe('a complete release', () => {
  const complete = (document: Partial<Progress['document']>) => progress({ state: 'complete' }, document);
  const newer = facts({ target: { found: true, version: 9, digest: 'd9' } });

  it('of a channel takes the newest head', () => {
    const channel = { channel: 'head', version: undefined } as const;
    expect(nextMove(complete(channel), newer)).toEqual({ kind: 'roll', version: 9, digest: 'd9' });
    expect(nextMove(complete(channel), facts())).toBeUndefined();
  });

  it('of a version is through', () => {
    expect(nextMove(complete({}), newer)).toBeUndefined();
  });
});

it('comes to an end, whatever the steps and times', () => {
  const steps = fc.array(fc.integer({ min: 0, max: 100 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 10 }), (percent, bakeSeconds) => {
      const cohorts = [{ name: 'all', labels: {}, percent }];
      let release = progress({ state: 'waiting', version: null, stepSince: null }, { cohorts, bakeSeconds });
      const moves: Move['kind'][] = [];
      for (let second = 0; second <= 200 && release.state !== 'complete'; second += 1) {
        const now = at(second);
        const move = nextMove(release, facts({ now }));
        if (move) moves.push(move.kind);
        if (move?.kind === 'roll') release = { ...release, state: 'rolling', stepSince: now };
        if (move?.kind === 'step') release = { ...release, step: move.step, stepSince: now };
        if (move?.kind === 'complete') release = { ...release, state: 'complete' };
      }
      expect(moves).toEqual(['roll', ...percent.slice(1).map(() => 'step'), 'complete']);
    }),
  );
});
