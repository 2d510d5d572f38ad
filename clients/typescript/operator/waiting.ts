import type { Round, Run } from '../generated/types.gen.ts';
import type { FederationEvent } from './event-stream.ts';
import type { FollowOptions } from './events.ts';

interface Watch {
  follow(options: FollowOptions): AsyncGenerator<FederationEvent>;
  getRun(run: string): Promise<Run>;
  listRounds(run: string, kind: Round['kind']): Promise<Round[]>;
}

const RUN_ENDS = ['run.completed', 'run.failed', 'run.stopped'];
const ROUND_ENDS = ['round.completed', 'round.failed'];

export function waitForRun(watch: Watch, id: string): Promise<Run> {
  return waitUntil(watch, RUN_ENDS, async () => {
    const run = await watch.getRun(id);
    return isOver(run) ? run : undefined;
  });
}

export function waitForRound(watch: Watch, id: string, number: number): Promise<Round> {
  return waitUntil(watch, [...RUN_ENDS, ...ROUND_ENDS], async () => {
    // Before the rounds: a run that is over then has no other.
    const run = await watch.getRun(id);
    const round = (await watch.listRounds(id, 'train')).find((round) => round.number === number);
    if (round?.state === 'completed' || round?.state === 'failed') return round;
    if (isOver(run) && !round) throw new Error(`run ${id} is ${run.state} without a round ${number}`);
    return undefined;
  });
}

/** Looks once the event stream is open, and again at every event. */
async function waitUntil<T>(
  watch: Watch,
  types: readonly string[],
  look: () => Promise<T | undefined>,
): Promise<T> {
  for await (const _ of watch.follow({ types })) {
    const found = await look();
    if (found !== undefined) return found;
  }
  throw new Error('the wait was stopped');
}

function isOver({ state }: Run): boolean {
  return state === 'completed' || state === 'failed' || state === 'stopped';
}
