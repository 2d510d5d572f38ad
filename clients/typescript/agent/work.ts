import type { Session } from '../device/session.ts';
import { deleteAssignment, getModel } from '../generated/sdk.gen.ts';
import type { Assignment, Model } from '../generated/types.gen.ts';
import { hasCode } from '../http/problem-error.ts';
import { decodeWeights } from '../tensors/weights.ts';
import type { Task } from '../trainer.ts';
import type { AssignmentOutcome } from './agent-event.ts';
import type { AgentSettings } from './agent-options.ts';
import { fetchWeights } from './weights-cache.ts';

/** What the parts of an agent share while it runs. */
export interface Work {
  session: Session;
  settings: AgentSettings;
  /** Models by name: a manifest never changes. */
  models: Map<string, Model>;
}

/** Longest delay of a timer. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Does the work with a signal that is aborted by the agent's stop and at the assignment's deadline. */
export async function untilDeadline<T>(
  { session }: Work,
  { deadlineAt }: Assignment,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T | 'expired'> {
  const deadline = new AbortController();
  const leftMs = Date.parse(deadlineAt) - session.clock.now();
  const timer = setTimeout(() => deadline.abort(), Math.min(Math.max(leftMs, 0), MAX_TIMER_MS));
  try {
    return await work(AbortSignal.any([session.signal, deadline.signal]));
  } catch (error) {
    session.signal.throwIfAborted();
    if (deadline.signal.aborted) return 'expired';
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Fetches what a trainer needs to carry out an assignment. */
export async function prepareTask(work: Work, assignment: Assignment, signal: AbortSignal): Promise<Task> {
  const { session, settings } = work;
  const download = assignment.downloads.find(({ role }) => role === 'weights');
  if (!download) throw new Error('the assignment names no weights');
  const model = await fetchModel(work, assignment.model, signal);
  const { bytes, cached } = await fetchWeights(session, download, signal);
  settings.onProgress({ type: 'downloaded', assignment, bytes: bytes.length, cached });
  return {
    model,
    weights: decodeWeights(bytes),
    hyperparameters: assignment.hyperparameters,
    seed: assignment.seed,
    signal,
    onProgress: (progress) => settings.onProgress({ type: 'training', assignment, ...progress }),
  };
}

async function fetchModel({ session, models }: Work, name: string, signal: AbortSignal): Promise<Model> {
  const known = models.get(name);
  if (known) return known;
  const get = (limit: AbortSignal) => getModel({ client: session.api, path: { model: name }, signal: limit });
  const { data } = await session.insist(get, { signal });
  models.set(name, data);
  return data;
}

/** Gives an assignment back, so that the server invites another device. One that is settled already stays so. */
export async function giveBack(
  { session }: Work,
  assignment: string,
  reason: 'battery' | 'no_data' | 'busy' | 'failed',
): Promise<void> {
  const path = { assignment };
  try {
    await session.insist((signal) =>
      deleteAssignment({ client: session.api, path, query: { reason }, signal }),
    );
  } catch (error) {
    if (!hasCode(error, 'assignment_settled', 'not_found')) throw error;
  }
}

export function reportSettled(
  { settings }: Work,
  assignmentId: string,
  outcome: AssignmentOutcome,
  reason?: string,
): void {
  const fields = { assignment: assignmentId, outcome, ...(reason !== undefined && { reason }) };
  if (outcome === 'malformed') settings.log.warn(fields, 'the server refused the update');
  else settings.log.info(fields, 'assignment settled');
  settings.onProgress({ type: 'settled', assignmentId, outcome, reason });
}
