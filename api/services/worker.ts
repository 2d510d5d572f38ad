import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { Deps } from '../deps.ts';
import type { Scorer } from '../domain/ml.ts';
import { createFoldThread } from '../kernels/folds/folds.ts';
import { type Channel, channels } from '../store/journal/channels.ts';
import { chainAudit, numberEvents } from '../store/journal/journal.ts';
import { findNextDue } from '../store/rounds/agenda.ts';
import { createFolder } from './aggregation/folding.ts';
import { eraseDueDevices } from './identity/erasures.ts';
import { scoreNextVersion } from './models/scoring.ts';
import { advanceRounds } from './rounds/round-clock.ts';
import { sweepBlobs } from './sweeper.ts';
import { createWaker } from './waker.ts';

/** A look at the tables even without a wake, in case that one was missed. */
const LOOK_MS = 5000;
const SWEEP_MS = 60_000;
const RETRY_MS = 1000;
const OVERDUE_MS = 50;
/** What no round waits for answers the wakes of so long at once: rounds can be shorter. */
const REST_MS = 100;

/** One pass of a part of the worker. Returns after how many milliseconds it wants the next one, unless it is woken. */
type Step = () => Promise<number>;

interface Part {
  name: string;
  step: Step;
  /** What wakes it besides `work`. */
  wakes?: readonly Channel[];
  /** Wakes of so long are answered at once. */
  restMs?: number;
}

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
  const parts: Part[] = [
    { name: 'clock', step: () => clockStep(deps) },
    // A fold that trails the intake begins with it: most rounds are over before a look without a wake.
    { name: 'folder', step: () => folder.step(), wakes: [channels.assignments] },
    { name: 'scoring', step: () => scoreStep(deps, scoring.scorer, signal), restMs: REST_MS },
    { name: 'journal', step: () => journalStep(deps), restMs: REST_MS },
    { name: 'erasures', step: () => eraseStep(deps), restMs: REST_MS },
  ];
  await Promise.all([...parts.map((part) => repeat(deps, part, signal)), sweepForEver(deps, signal)]);
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

/** Events get their numbers and the audit log its chain, also while nobody reads either. */
async function journalStep({ db }: Deps): Promise<number> {
  await numberEvents(db);
  await chainAudit(db);
  return LOOK_MS;
}

async function eraseStep(deps: Deps): Promise<number> {
  return (await eraseDueDevices(deps)) > 0 ? 0 : LOOK_MS;
}

async function repeat(
  deps: Deps,
  { name, step, wakes = [], restMs = 0 }: Part,
  signal: AbortSignal,
): Promise<void> {
  const waker = createWaker(deps.listener, [channels.work, ...wakes], signal);
  while (!signal.aborted) {
    const delay = await attempt(deps, name, step, RETRY_MS);
    if (delay === 0) continue;
    if (restMs > 0) await setTimeout(restMs, undefined, { signal }).catch(() => undefined);
    await waker.wait(delay);
  }
  waker.stop();
}

async function attempt(deps: Deps, part: string, step: Step, retryMs: number): Promise<number> {
  try {
    const delay = await step();
    deps.metrics.workerPasses.inc({ part, outcome: 'ok' });
    return delay;
  } catch (error) {
    deps.metrics.workerPasses.inc({ part, outcome: 'failed' });
    deps.log.warn({ err: error, part }, 'a part of the worker failed and tries again');
    return retryMs;
  }
}

async function sweepForEver(deps: Deps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const sweep = async () => {
      await sweepBlobs(deps);
      return SWEEP_MS;
    };
    const delay = await attempt(deps, 'sweeper', sweep, SWEEP_MS);
    await setTimeout(delay, undefined, { signal }).catch(() => undefined);
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
    close: async () => (await scorer?.catch(() => undefined))?.close(),
  };
}
