import { describe, expect, it } from 'vitest';
import { type AdmissionFacts, admit, closedState } from '../../api/domain/round.ts';
import { isEvaluationDue, runEnd } from '../../api/domain/run.ts';

const now = new Date('2026-01-01T12:00:00Z');
const later = new Date('2026-01-01T12:00:01Z');
const open: AdmissionFacts = {
  digest: 'a',
  recordedDigest: undefined,
  assignment: 'open',
  round: { state: 'collecting', accepted: 1, capacity: 3, deadlineAt: later },
};
const withRound = (round: Partial<AdmissionFacts['round']>, more: Partial<AdmissionFacts> = {}) => ({
  ...open,
  ...more,
  round: { ...open.round, ...round },
});

describe('admit', () => {
  it.each([
    ['an open assignment of a collecting round', open, 'admitted'],
    ['the deadline itself', withRound({ deadlineAt: now }), 'late'],
    ['a round past its deadline that nobody closed yet', withRound({ deadlineAt: new Date(0) }), 'late'],
    ['a round at capacity', withRound({ accepted: 3 }), 'full'],
    ['a round that filled and closed', withRound({ state: 'aggregating', accepted: 3 }), 'full'],
    ['a round that closed below capacity', withRound({ state: 'aggregating' }), 'late'],
    ['a published round', withRound({ state: 'completed' }), 'late'],
    ['a failed round', withRound({ state: 'failed' }), 'late'],
    ['an expired assignment', { ...open, assignment: 'expired' }, 'late'],
    ['a returned assignment', { ...open, assignment: 'returned' }, 'not_in_cohort'],
    ['the recorded digest', { ...open, recordedDigest: 'a', assignment: 'accepted' }, 'duplicate'],
    ['another digest', { ...open, recordedDigest: 'b', assignment: 'accepted' }, 'update_conflict'],
    [
      'the recorded digest, long after the round has ended',
      withRound({ state: 'completed', accepted: 3 }, { recordedDigest: 'a', assignment: 'accepted' }),
      'duplicate',
    ],
  ] as [string, AdmissionFacts, string][])('%s', (_name, facts, admission) => {
    expect(admit(facts, now)).toBe(admission);
  });
});

it.each([
  [4, 5, 'failed'],
  [5, 5, 'aggregating'],
  [6, 5, 'aggregating'],
])('a round that closes with %d of a quorum of %d', (accepted, quorum, state) => {
  expect(closedState(accepted, quorum)).toBe(state);
});

describe('runEnd', () => {
  const settings = { rounds: 3, maxFailedRounds: 2 } as Parameters<typeof runEnd>[0]['settings'];
  const run = { completedRounds: 1, failedInARow: 1, endAt: null, settings };

  it.each([
    ['goes on', run, undefined],
    ['has its rounds', { ...run, completedRounds: 3 }, 'completed'],
    ['is past its end', { ...run, endAt: now }, 'completed'],
    ['is before its end', { ...run, endAt: later }, undefined],
    ['failed too often', { ...run, failedInARow: 2 }, 'failed'],
    [
      'has its rounds although the last ones failed',
      { ...run, completedRounds: 3, failedInARow: 2 },
      'completed',
    ],
  ] as [string, Parameters<typeof runEnd>[0], string | undefined][])('%s', (_name, state, end) => {
    expect(runEnd(state, now)?.state).toBe(end);
  });
});

describe('isEvaluationDue', () => {
  it.each([
    ['before the first multiple', { completedRounds: 2, evaluatedRounds: 0, isOver: false }, false],
    ['at a multiple', { completedRounds: 3, evaluatedRounds: 0, isOver: false }, true],
    ['once that was evaluated', { completedRounds: 3, evaluatedRounds: 3, isOver: false }, false],
    ['when a multiple was missed', { completedRounds: 4, evaluatedRounds: 0, isOver: false }, true],
    [
      'not again for the one that was missed',
      { completedRounds: 5, evaluatedRounds: 4, isOver: false },
      false,
    ],
    ['at the next multiple all the same', { completedRounds: 6, evaluatedRounds: 4, isOver: false }, true],
    ['for the last version', { completedRounds: 4, evaluatedRounds: 3, isOver: true }, true],
    ['not twice for the last version', { completedRounds: 4, evaluatedRounds: 4, isOver: true }, false],
  ])('%s', (_name, progress, due) => {
    expect(isEvaluationDue(progress, 3)).toBe(due);
  });
});
