import type { AgentLog } from '../agent/agent-event.ts';
import { fetchWeights } from '../agent/weights-cache.ts';
import type { Session } from '../device/session.ts';
import { getCurrentVersion, getModel, reportVersion } from '../generated/sdk.gen.ts';
import type { ModelVersion } from '../generated/types.gen.ts';
import { hasCode } from '../http/problem-error.ts';
import { finiteMetrics } from '../tensors/finite-metrics.ts';
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

interface Reported {
  version: number;
  etag: string | null;
  evaluation: Evaluation;
  /** When, by the clock of `session.timing`. */
  at: number;
}

/** A release that comes back counts the reports since then, and its devices may not see that it was away. */
const AGAIN_MS = 3_600_000;

/**
 * Asks for the version that the device is to use of each of its models. One that it has not reported on yet is measured on
 * the device's data, and the server is told; once more every hour, and if another release has come to the same version.
 * What fails is tried again at the next call.
 */
export function createVersionReports(reports: VersionReports): () => Promise<void> {
  const reported = new Map<string, Reported>();
  return async () => {
    for (const model of await reports.models()) {
      try {
        const found = await findCurrent(reports.session, model);
        const last = reported.get(model);
        const now = reports.session.timing.now();
        if (!found || (last && isTold(last, found, now))) continue;
        reported.set(model, { ...(await report(reports, found, last)), at: now });
      } catch (error) {
        reports.session.signal.throwIfAborted();
        reports.log.warn({ err: error, model }, 'a version cannot be reported on');
      }
    }
  };
}

interface Found {
  current: ModelVersion;
  etag: string | null;
}

/** A clock that was set back is no reason to keep silent. */
function isTold({ version, etag, at }: Reported, found: Found, now: number): boolean {
  const isRecent = now >= at && now < at + AGAIN_MS;
  return version === found.current.version && etag === found.etag && isRecent;
}

/** Undefined: there is no such model, or no version of it for this device. */
async function findCurrent(session: Session, model: string): Promise<Found | undefined> {
  try {
    const get = (signal: AbortSignal) => getCurrentVersion({ client: session.api, path: { model }, signal });
    const { data, response } = await session.insist(get);
    return { current: data, etag: response.headers.get('etag') };
  } catch (error) {
    if (hasCode(error, 'not_found', 'no_version', 'no_release')) return undefined;
    throw error;
  }
}

/** What was measured of a version holds for good. */
async function report(
  { session, trainer, log }: VersionReports,
  { current, etag }: Found,
  last: Reported | undefined,
): Promise<Omit<Reported, 'at'>> {
  const { model, version } = current;
  const evaluation = last?.version === version ? last.evaluation : await measure(session, trainer, current);
  const { numExamples } = evaluation;
  const metrics = tellable(evaluation.metrics);
  if (numExamples > 0) {
    const path = { model, version };
    const body = { numExamples, metrics };
    await session.insist((signal) => reportVersion({ client: session.api, path, body, signal }));
    log.info({ model, version, numExamples, metrics }, 'reported');
  }
  return { version, etag, evaluation };
}

/**
 * JSON has finite numbers only. A loss that is none any more is as large as can be: left out, a gate on it would wait for
 * ever for the worst version of all.
 */
function tellable(metrics: Evaluation['metrics']): Evaluation['metrics'] {
  const loss = metrics.loss !== undefined && !Number.isFinite(metrics.loss) ? { loss: Number.MAX_VALUE } : {};
  return { ...finiteMetrics(metrics), ...loss };
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
