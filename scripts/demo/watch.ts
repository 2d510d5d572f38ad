import { setTimeout } from 'node:timers/promises';
import type { Operator } from '../../clients/typescript/operator/operator.ts';
import type { Progress } from './display.ts';
import { percent } from './summary.ts';

type Round = Awaited<ReturnType<Operator['listRounds']>>[number];

const LOOK_MS = 150;

/** Shows the run's rounds until it is over and its last version is scored. Returns that version's accuracy. */
export async function watchRun(
  operator: Operator,
  runId: string,
  update: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<{ rounds: number; accuracy: number }> {
  while (true) {
    const run = await operator.getRun(runId);
    const rounds = await operator.listRounds(runId, 'train');
    const failed = rounds.filter(({ state }) => state === 'failed').length;
    for (const round of rounds) update(toProgress(round, run.rounds + failed));
    const published = rounds.filter(({ state }) => state === 'completed');
    const accuracy = published.at(-1)?.score?.accuracy;
    if (run.state === 'failed' || run.state === 'stopped') {
      throw new Error(`the run is ${run.state}: ${run.reason ?? ''}`);
    }
    if (run.state === 'completed' && accuracy !== undefined) return { rounds: published.length, accuracy };
    await setTimeout(LOOK_MS, undefined, { signal });
  }
}

function toProgress(round: Round, rounds: number): Progress {
  const { number, state, accepted, invited, capacity, score } = round;
  return {
    name: `round ${String(number).padStart(String(rounds).length)}/${rounds}`,
    value: accepted,
    total: invited > 0 ? Math.min(invited, capacity) : capacity,
    unit: 'updates',
    status: describe(round),
    done: score !== undefined || state === 'failed',
  };
}

function describe({ state, reason, score }: Round): string {
  if (score) return `accuracy ${percent(score.accuracy ?? 0)}`;
  return {
    pending: 'waits for devices',
    collecting: 'training',
    aggregating: 'folding',
    completed: 'scoring',
    failed: `failed: ${reason}`,
  }[state];
}
