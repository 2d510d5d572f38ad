import type { Client } from '../generated/client/index.ts';
import type {
  Catalog,
  CreatedEnrollmentToken,
  CreateEnrollmentToken,
  CreateModel,
  CreateRun,
  Device,
  EvaluationSet,
  Model,
  ModelSummary,
  ModelVersion,
  Release,
  Round,
  Run,
  Update,
} from '../generated/types.gen.ts';
import { createApi, settle, within } from '../http/calls.ts';
import { type Backoff, DEFAULT_BACKOFF, retry, systemTiming, type Timing } from '../http/retries.ts';
import type { NamedTensors } from '../trainer.ts';
import type { LabelledExamples } from './evaluation-file.ts';
import type { FederationEvent } from './event-stream.ts';
import { type FollowOptions, followEvents } from './events.ts';
import { type Ask, type List, readCalls, uploadCalls, writeCalls } from './operator-calls.ts';
import { waitForRound, waitForRun } from './waiting.ts';

const CALL_MS = 30_000;
const MAX_PAGE = 200;

export interface OperatorOptions {
  url: string;
  /** An operator key (`fedop_...`). */
  key: string;
  signal?: AbortSignal | undefined;
  /** How often a call is tried while the server is not reached. */
  attempts?: number | undefined;
  backoff?: Backoff | undefined;
  fetch?: typeof fetch | undefined;
  timing?: Timing | undefined;
}

/** The calls that scripts need. They throw `ProblemError` and `ConnectionError`; creating twice by a retry cannot be. */
export interface Operator {
  createEnrollmentToken(body: CreateEnrollmentToken): Promise<CreatedEnrollmentToken>;
  listDevices(): Promise<Device[]>;
  approveDevice(device: string): Promise<Device>;
  revokeDevice(device: string): Promise<Device>;
  createModel(body: CreateModel): Promise<Model>;
  getModel(model: string): Promise<Model>;
  listModels(): Promise<ModelSummary[]>;
  /** The tensors of the manifest, in its order. They become the model's head. */
  uploadVersion(model: string, tensors: NamedTensors): Promise<ModelVersion>;
  /** Oldest first. */
  listVersions(model: string): Promise<ModelVersion[]>;
  getVersion(model: string, version: number): Promise<ModelVersion>;
  downloadWeights(model: string, version: number): Promise<NamedTensors>;
  /** What every version is scored on from now on. */
  uploadEvaluationSet(model: string, examples: LabelledExamples): Promise<EvaluationSet>;
  createRun(body: CreateRun): Promise<Run>;
  getRun(run: string): Promise<Run>;
  listRuns(filter?: { model?: string; state?: Run['state'] }): Promise<Run[]>;
  pauseRun(run: string): Promise<Run>;
  resumeRun(run: string): Promise<Run>;
  stopRun(run: string): Promise<Run>;
  /** Oldest first; train and evaluate rounds unless a kind is given. */
  listRounds(run: string, kind?: Round['kind']): Promise<Round[]>;
  listUpdates(round: string): Promise<Update[]>;
  /** Every content that a release file ever had, oldest first; at most one of a model is not `superseded`. */
  listReleases(filter?: { model?: string }): Promise<Release[]>;
  /** Devices get `previous` until the content of the release file changes. Needs the role `releaser`. */
  haltRelease(release: string): Promise<Release>;
  /** What the server's last look at the catalog of releases and runs found. */
  getCatalog(): Promise<Catalog>;
  /** Resolves with the train round of this number once it has ended; rejects if the run ends without it. */
  waitForRound(run: string, number: number): Promise<Round>;
  /** Resolves once the run is over. */
  waitForRun(run: string): Promise<Run>;
  /** What happens, across cut connections and restarts of the server without a gap, until the signal is aborted. */
  followEvents(options?: FollowOptions): AsyncGenerator<FederationEvent>;
  /** For the generated calls that have no method here. */
  api: Client;
}

export function createOperator(options: OperatorOptions): Operator {
  const { url, key, fetch, signal = new AbortController().signal, attempts = 8 } = options;
  const { timing = systemTiming, backoff = DEFAULT_BACKOFF } = options;
  const client = createApi({ url, fetch, auth: () => key });

  const ask: Ask = async (make) => {
    const once = () => settle(make(within(CALL_MS, signal)), signal);
    return (await retry(once, { timing, backoff, signal, attempts })).data;
  };
  const follow = (wanted: FollowOptions = {}) => {
    const until = wanted.signal ? AbortSignal.any([signal, wanted.signal]) : signal;
    return followEvents(client, { timing, backoff, ...wanted, signal: until });
  };
  const reads = readCalls(client, ask, createList(ask));
  const wait = { follow, getRun: reads.getRun, listRounds: reads.listRounds };
  return {
    api: client,
    ...reads,
    ...writeCalls(client, ask),
    ...uploadCalls(client, ask, signal),
    followEvents: follow,
    waitForRound: (run, number) => waitForRound(wait, run, number),
    waitForRun: (run) => waitForRun(wait, run),
  };
}

/** Reads a list page by page to its end. */
function createList(ask: Ask): List {
  return async (makePage) => {
    const items = [];
    let cursor: string | undefined;
    do {
      const query = { limit: MAX_PAGE, ...(cursor !== undefined && { cursor }) };
      const page = await ask((signal) => makePage(query, signal));
      items.push(...page.items);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return items;
  };
}
