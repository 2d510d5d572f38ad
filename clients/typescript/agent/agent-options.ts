import type { DeviceProperties } from '../generated/types.gen.ts';
import { type Backoff, DEFAULT_BACKOFF, systemTiming, type Timing } from '../http/retries.ts';
import type { AgentStore } from '../store/agent-store.ts';
import type { Encoding } from '../tensors/updates.ts';
import type { Trainer } from '../trainer.ts';
import type { AgentEvent, AgentLog } from './agent-event.ts';

interface Common {
  /** Of the server, as its devices reach it. */
  url: string;
  /** The URL by which the server knows itself (FEDEDGE_PUBLIC_URL), where that is another one. */
  audience?: string;
  /** For people. */
  name: string;
  /** Needed until the device is registered. */
  enrollmentToken?: string;
  trainer: Trainer;
  /** What the device reports about itself; a function is asked again before every poll. */
  properties?: DeviceProperties | (() => DeviceProperties | Promise<DeviceProperties>);
  /** Ends `run`. An assignment at work stays open: the next start takes it up again. */
  signal?: AbortSignal;
  onProgress?: (event: AgentEvent) => void;
  log?: AgentLog;
  /** How the values of an update travel, where the server takes it. */
  encoding?: Encoding;
  /** Longer updates are sent in parts that a cut connection does not lose. */
  resumableAboveBytes?: number;
  /** The length of such a part. */
  partBytes?: number;
  /** How long a poll waits at the server. */
  waitSeconds?: number;
  backoff?: Backoff;
  fetch?: typeof fetch;
  timing?: Timing;
}

/** An agent keeps its key and its work in a folder of its own, or in a store that you bring. */
export type AgentOptions = Common & ({ stateDir: string } | { store: AgentStore });

const MEGABYTE = 1 << 20;
const silent: AgentLog = { info: () => undefined, warn: () => undefined };

/** The options with all defaults. */
export function withDefaults(options: AgentOptions) {
  return {
    properties: {},
    signal: new AbortController().signal,
    onProgress: () => undefined,
    log: silent,
    encoding: 'f32' as const,
    resumableAboveBytes: 32 * MEGABYTE,
    partBytes: 16 * MEGABYTE,
    waitSeconds: 25,
    backoff: DEFAULT_BACKOFF,
    timing: systemTiming,
    ...options,
  };
}

export type AgentSettings = ReturnType<typeof withDefaults>;
