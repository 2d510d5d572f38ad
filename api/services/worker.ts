import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { Deps } from '../deps.ts';
import type { Scorer } from '../domain/ml.ts';
import { createFoldThread } from '../kernels/folds/folds.ts';
import { channels } from '../store/journal/channels.ts';
import { findNextDue } from '../store/rounds/agenda.ts';
import { createFolder } from './aggregation/folding.ts';
import { scoreNextVersion } from './models/scoring.ts';
import { advanceRounds } from './rounds/round-clock.ts';
import { sweepBlobs } from './sweeper.ts';
import { createWaker } from './waker.ts';

/** A look at the tables even without a wake, in case that one was missed. */
const LOOK_MS = 5000;
const SWEEP_MS = 60_000;
const RETRY_MS = 1000;
const OVERDUE_MS = 50;

/** One pass of a part of the worker. Returns after how many milliseconds it wants the next one, unless it is woken. */
type Step = () => Promise<number>;

/**
 * The round clock, the aggregation, the scoring and the sweeper, until `signal` aborts. Any number of workers may run
 * on one database. An outage is logged and tried again: it never becomes the outcome of a round.
 */
export async function runWorker(deps: Deps, { signal }: { signal: AbortSignal }): Promise<void> {
  const folds = createFoldThread();
  const folder = createFolder({ deps, folds, holder: holderName(deps), signal });
  const scoring = createScoring();
  // A score can take long and can be taken again: the end of the worker does not wait for it.
  signal.addEventListener('abort', () => void scoring.close());
  await Promise.all([
    repeat(deps, () => clockStep(deps), signal),
    repeat(deps, () => folder.step(), signal),
    repeat(deps, () => scoreStep(deps, scoring.scorer, signal), signal),
    sweepForEver(deps, signal),
  ]);
  await folder.close();
  await folds.close();
  await scoring.close();
}

async function clockStep(deps: Deps): Promise<number> {
  await advanceRounds(deps);
  const due = await findNextDue(deps.db.pool);
  if (!due) return LOOK_MS;
  const ms = due.getTime() - deps.clock.now().getTime();
  // What is due and was not done, another worker has in hand.
  return ms <= 0 ? OVERDUE_MS : Math.min(ms, LOOK_MS);
}

async function scoreStep(deps: Deps, scorer: () => Promise<Scorer>, signal: AbortSignal): Promise<number> {
  return (await scoreNextVersion(deps, scorer, signal)) ? 0 : LOOK_MS;
}

async function repeat(deps: Deps, step: Step, signal: AbortSignal): Promise<void> {
  const waker = createWaker(deps.listener, channels.work, signal);
  while (!signal.aborted) {
    const delay = await step().catch((error: unknown) => {
      deps.log.warn({ err: error }, 'a part of the worker failed and tries again');
      return RETRY_MS;
    });
    if (delay > 0) await waker.wait(delay);
  }
  waker.stop();
}

async function sweepForEver(deps: Deps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sweepBlobs(deps).catch((error: unknown) => deps.log.warn({ err: error }, 'the sweeper failed'));
    await setTimeout(SWEEP_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** In the embedded form there is one worker, ever: after a crash it takes its own leases back at once. */
function holderName({ config }: Deps): string {
  return config.databaseUrl === undefined ? 'embedded' : `${hostname()}:${process.pid}:${randomUUID()}`;
}

/** The scorer brings a machine-learning runtime: it is loaded with the first version that has to be scored. */
function createScoring() {
  let scorer: Promise<Scorer> | undefined;
  const load = async () => (await import('../ml/scoring/scorer.ts')).createScorer();
  return {
    scorer(): Promise<Scorer> {
      scorer ??= load().catch((error: unknown) => {
        scorer = undefined;
        throw error;
      });
      return scorer;
    },
    close: async () => (await scorer)?.close(),
  };
}
