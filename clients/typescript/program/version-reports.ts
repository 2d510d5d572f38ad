import type { AgentLog } from '../agent/agent-event.ts';
import { fetchWeights } from '../agent/weights-cache.ts';
import type { Session } from '../device/session.ts';
import { getCurrentVersion, getModel, reportVersion } from '../generated/sdk.gen.ts';
import type { ModelVersion } from '../generated/types.gen.ts';
import { hasCode } from '../http/problem-error.ts';
import { decodeWeights } from '../tensors/weights.ts';
import type { Evaluation, Trainer } from '../trainer.ts';

export interface VersionReports {
  /** The device's connection, with a store for weights of its own: an agent beside it keeps those that it trains on. */
  session: Session;
  /** Its models are built anew for this: what is being trained is not touched. */
  trainer: Required<Pick<Trainer, 'evaluate'>>;
  /** The models that the device has data for. */
  models(): Promise<readonly string[]>;
  log: AgentLog;
}

/**
 * Asks for the version that the device is to use of each of its models. One that it has not reported on yet is measured on
 * the device's data, and the server is told. What fails is tried again at the next call.
 */
export function createVersionReports(reports: VersionReports): () => Promise<void> {
  const reported = new Map<string, number>();
  return async () => {
    for (const model of await reports.models()) {
      try {
        const current = await findCurrent(reports.session, model);
        if (!current || reported.get(model) === current.version) continue;
        await report(reports, current);
        reported.set(model, current.version);
      } catch (error) {
        reports.session.signal.throwIfAborted();
        reports.log.warn({ err: error, model }, 'a version cannot be reported on');
      }
    }
  };
}

/** Undefined: there is no such model, or no version of it for this device. */
async function findCurrent(session: Session, model: string): Promise<ModelVersion | undefined> {
  try {
    const get = (signal: AbortSignal) => getCurrentVersion({ client: session.api, path: { model }, signal });
    return (await session.insist(get)).data;
  } catch (error) {
    if (hasCode(error, 'not_found', 'no_version', 'no_release')) return undefined;
    throw error;
  }
}

async function report({ session, trainer, log }: VersionReports, current: ModelVersion): Promise<void> {
  const { model, version } = current;
  const { numExamples, metrics } = await measure(session, trainer, current);
  if (numExamples === 0) return;
  const path = { model, version };
  const body = { numExamples, metrics };
  await session.insist((signal) => reportVersion({ client: session.api, path, body, signal }));
  log.info({ model, version, numExamples, metrics }, 'reported');
}

async function measure(
  session: Session,
  trainer: VersionReports['trainer'],
  { model: name, downloads }: ModelVersion,
): Promise<Evaluation> {
  const download = downloads.find(({ role }) => role === 'weights');
  if (!download) throw new Error('the version names no weights');
  const get = (signal: AbortSignal) => getModel({ client: session.api, path: { model: name }, signal });
  const { data: model } = await session.insist(get);
  const { bytes } = await fetchWeights(session, download, session.signal);
  const weights = decodeWeights(bytes);
  return trainer.evaluate({
    model,
    weights,
    hyperparameters: {},
    seed: 0,
    signal: session.signal,
    onProgress: () => undefined,
  });
}
