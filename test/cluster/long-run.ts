import assert from 'node:assert/strict';
import type { Round, Run } from '../../clients/typescript/index.ts';
import { MODEL } from './digits.ts';
import type { Scene } from './scene.ts';
import { AGENTS } from './steps/training.ts';
import { waitFor } from './waiting.ts';

/** A run of the agents whose rounds last some seconds, so that something can happen in the middle of one. */
export interface LongRun {
  run: Run;
  /** Resolves when all who were invited to a round have contributed: a pod that was replaced is missed for a while. */
  whole(): Promise<unknown>;
  /** Resolves in the middle of a round: some updates are accepted, others are still being made. */
  middleOfRound(): Promise<Round>;
  /** Resolves when the round is completed; rejects if it failed or an update of it is not folded. */
  completed(round: Round): Promise<Round>;
  /** Resolves when a round that began after `round` is completed. */
  nextCompleted(round: Round): Promise<Round>;
}

export async function startLongRun({ operator, signal }: Scene): Promise<LongRun> {
  const hyperparameters = { epochs: 6, batchSize: 32, learningRate: 0.05 };
  const run = await operator.createRun({
    model: MODEL,
    name: 'under disturbance',
    rounds: 1_000,
    quorum: 3,
    capacity: AGENTS,
    deadlineMs: 25_000,
    pendingMs: 60_000,
    presenceMs: 15_000,
    maxFailedRounds: 3,
    hyperparameters,
  });
  const rounds = async () => (await operator.listRounds(run.id, 'train')).sort((a, b) => a.number - b.number);
  const completed = async ({ id, number }: Round): Promise<Round> => {
    const over = await waitFor(
      `round ${number} is over`,
      async () =>
        (await rounds()).find(
          (one) => one.id === id && (one.state === 'completed' || one.state === 'failed'),
        ),
      { signal, seconds: 120, everyMs: 250 },
    );
    assert.equal(over.state, 'completed', `round ${number}: ${over.reason}`);
    const states = (await operator.listUpdates(id)).map(({ state }) => state);
    assert.ok(
      states.length === over.accepted && states.every((state) => state === 'folded'),
      `round ${number}: ${states}`,
    );
    return over;
  };
  const whole = async () => {
    const [last] = (await rounds()).slice(-1);
    const isWhole = ({ number, state, accepted, invited }: Round) =>
      number > (last?.number ?? 0) && state === 'completed' && accepted === invited;
    await waitFor('a round has an update of everybody invited', async () => (await rounds()).some(isWhole), {
      signal,
    });
  };
  const middleOfRound = () =>
    waitFor(
      'a round is half way',
      async () => {
        const last = (await rounds()).at(-1);
        return last?.state === 'collecting' && last.accepted >= 1 && last.openAssignments >= 2 && last;
      },
      { signal, seconds: 120, everyMs: 50 },
    );
  const nextCompleted = async ({ number }: Round) =>
    completed(
      await waitFor(
        'the next round is there',
        async () => (await rounds()).find((one) => one.number > number),
        { signal, seconds: 60 },
      ),
    );
  return { run, whole, middleOfRound, completed, nextCompleted };
}
