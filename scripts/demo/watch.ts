import { setTimeout } from 'node:timers/promises';
import type { Operator } from '../../clients/typescript/operator/operator.ts';
import type { Progress } from './progress.ts';

type Round = Awaited<ReturnType<Operator['listRounds']>>[number];

const LOOK_MS = 250;

/** Shows the run's rounds until it is over and its last version is scored. Returns that version's accuracy. */
export async function watchRun(
  operator: Operator,
  runId: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<{ rounds: number; accuracy: number }> {
  for (;;) {
    const run = await operator.getRun(runId);
    const rounds = await operator.listRounds(runId, 'train');
    for (const round of rounds) progress.update(toProgress(round));
    const published = rounds.filter(({ state }) => state === 'completed');
    const accuracy = published.at(-1)?.score?.accuracy;
    if (run.state === 'failed' || run.state === 'stopped') {
      throw new Error(`the run is ${run.state}: ${run.reason ?? ''}`);
    }
    if (run.state === 'completed' && accuracy !== undefined) return { rounds: published.length, accuracy };
    await setTimeout(LOOK_MS, undefined, { signal });
  }
}

function toProgress(round: Round) {
  const { number, state, accepted, invited, capacity, reason, score } = round;
  const expected = invited > 0 ? Math.min(invited, capacity) : capacity;
  return { number, state, accepted, expected, reason, accuracy: score?.accuracy };
}
