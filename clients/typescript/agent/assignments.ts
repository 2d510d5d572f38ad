import { putEvaluation } from '../generated/sdk.gen.ts';
import type { Assignment } from '../generated/types.gen.ts';
import { hasCode } from '../http/problem-error.ts';
import { finiteMetrics } from '../tensors/finite-metrics.ts';
import { type Encoding, encodeUpdate } from '../tensors/updates.ts';
import { Declined, type Evaluation, type Task } from '../trainer.ts';
import { isFinal } from './final-errors.ts';
import { keepUpdate, sendUpdate } from './updates.ts';
import { giveBack, prepareTask, reportSettled, untilDeadline, type Work } from './work.ts';

const REFUSALS = ['late', 'full', 'not_in_cohort', 'evaluation_conflict', 'not_found'] as const;

/** Does what the server asks for until the assignment is settled. What goes wrong at home gives it back. */
export async function carryOut(work: Work, assignment: Assignment): Promise<void> {
  work.settings.onProgress({ type: 'assigned', assignment });
  work.session.tracing.parent = assignment.traceparent;
  try {
    await (assignment.kind === 'train' ? train(work, assignment) : evaluate(work, assignment));
  } catch (error) {
    if (work.session.signal.aborted || isFinal(error)) throw error;
    const reason = error instanceof Declined ? error.reason : 'failed';
    if (reason === 'failed') {
      work.models.delete(assignment.model);
      work.settings.log.warn({ err: error, assignment: assignment.id }, 'an assignment failed');
    }
    await giveBack(work, assignment.id, reason);
    reportSettled(work, assignment.id, 'returned', error instanceof Error ? error.message : String(error));
  } finally {
    work.session.tracing.parent = undefined;
  }
}

async function train(work: Work, assignment: Assignment): Promise<void> {
  const { session, settings } = work;
  const file = await untilDeadline(work, assignment, async (signal) => {
    const task = await prepareTask(work, assignment, signal);
    return makeUpdate(work, assignment, task);
  });
  if (file === 'expired') return reportSettled(work, assignment.id, 'expired');
  const kept = await keepUpdate(session, assignment.id, file);
  settings.onProgress({ type: 'trained', assignment, ...kept });
  await settleUpdate(work, assignment.id, kept.digest);
}

async function makeUpdate(
  { settings }: Work,
  { update }: Assignment,
  task: Task,
): Promise<Uint8Array<ArrayBuffer>> {
  if (!update) throw new Error('the assignment does not say where the update goes');
  const training = await settings.trainer.train(task);
  task.signal.throwIfAborted();
  requireExamples(training);
  const missing = update.scalars.find((name) => !Number.isFinite(training.scalars?.[name]));
  if (missing !== undefined)
    throw new Error(`the trainer does not give ${missing}, which the strategy needs`);
  const encoding: Encoding = update.encodings.includes(settings.encoding) ? settings.encoding : 'f32';
  const file = encodeUpdate(task.model.manifest, task.weights, training, encoding);
  if (file.length > update.maxBytes) {
    throw new Error(`the update has ${file.length} bytes of ${update.maxBytes} allowed`);
  }
  return file;
}

/** Sends the kept update, and tells what became of it. */
export async function settleUpdate(work: Work, assignment: string, digest?: string): Promise<void> {
  const answer = await sendUpdate(work.session, assignment, work.settings, digest);
  const reason = 'reason' in answer ? answer.reason : undefined;
  reportSettled(work, assignment, answer.outcome, reason);
  // It stays open at the server, and the same training would end in the same file.
  if (answer.outcome === 'malformed') await giveBack(work, assignment, 'failed');
}

async function evaluate(work: Work, assignment: Assignment): Promise<void> {
  const { trainer } = work.settings;
  if (!trainer.evaluate) throw new Declined('no_data');
  const evaluation = await untilDeadline(work, assignment, async (signal) => {
    const task = await prepareTask(work, assignment, signal);
    return trainer.evaluate!(task);
  });
  if (evaluation === 'expired') return reportSettled(work, assignment.id, 'expired');
  requireExamples(evaluation);
  await sendEvaluation(work, assignment, evaluation);
}

async function sendEvaluation(
  work: Work,
  { id }: Assignment,
  { numExamples, metrics }: Evaluation,
): Promise<void> {
  const { session } = work;
  const body = { numExamples, metrics: finiteMetrics(metrics) };
  try {
    await session.insist((signal) =>
      putEvaluation({ client: session.api, path: { assignment: id }, body, signal }),
    );
    reportSettled(work, id, 'accepted');
  } catch (error) {
    const outcome = REFUSALS.find((code) => hasCode(error, code));
    if (!outcome) throw error;
    reportSettled(work, id, outcome);
  }
}

function requireExamples({ numExamples }: Evaluation): void {
  if (numExamples === 0) throw new Declined('no_data');
}
