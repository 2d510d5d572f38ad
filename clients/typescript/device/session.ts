import type { Client } from '../generated/client/index.ts';
import { type Answer, createApi, type Outcome, settle, within, withoutSlash } from '../http/calls.ts';
import { type ConnectionError, hasCode, type ProblemError } from '../http/problem-error.ts';
import { type Backoff, retry, type Timing } from '../http/retries.ts';
import type { AgentStore } from '../store/agent-store.ts';
import { createAccessTokens } from './access-tokens.ts';
import { type Identity, openIdentity } from './identity.ts';
import { createServerClock, type ServerClock } from './server-clock.ts';

const CALL_MS = 30_000;

export interface SessionOptions {
  url: string;
  /** The URL by which the server knows itself. Unset: `url`. */
  audience?: string | undefined;
  store: AgentStore;
  signal: AbortSignal;
  timing: Timing;
  backoff: Backoff;
  fetch?: typeof fetch | undefined;
  onRetry(error: ProblemError | ConnectionError, delayMs: number): void;
}

/** A device's connection to its server: its identity, its access tokens and how it calls. */
export interface Session extends Omit<SessionOptions, 'url' | 'fetch' | 'audience'> {
  api: Client;
  /** The `traceparent` of the assignment that is being carried out: a header of every request meanwhile. */
  tracing: { parent?: string | undefined };
  audience: string;
  identity: Identity;
  clock: ServerClock;
  /** Resolves once the server gives the device access tokens; throws `device_pending` and what else it answers. */
  authenticate(): Promise<void>;
  /** One call as the device; a second one with a fresh token if the first token was refused. */
  call<T>(make: (signal: AbortSignal) => Promise<Outcome<T>>, options?: CallOptions): Promise<Answer<T>>;
  /** A call that is repeated, with back-off, until it succeeds or fails for good. */
  insist<T>(make: (signal: AbortSignal) => Promise<Outcome<T>>, options?: CallOptions): Promise<Answer<T>>;
  /** The same for work of several calls. */
  persist<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Longest time for the answer to begin and end. */
  timeoutMs?: number | undefined;
}

export async function openSession({ url, fetch, ...options }: SessionOptions): Promise<Session> {
  const { store, timing, backoff, onRetry } = options;
  const audience = options.audience ?? withoutSlash(url);
  const identity = await openIdentity(store);
  const clock = createServerClock(timing);
  const api = createApi({ url, fetch, auth: () => tokens.get() });
  const tokens = createAccessTokens({ api, identity, clock, audience, signal: options.signal });

  const tracing: Session['tracing'] = {};
  api.interceptors.request.use((request) => {
    if (tracing.parent !== undefined) request.headers.set('traceparent', tracing.parent);
    return request;
  });

  const call: Session['call'] = async (make, { signal = options.signal, timeoutMs = CALL_MS } = {}) => {
    const once = () => settle(make(within(timeoutMs, signal)), signal);
    try {
      return await once();
    } catch (error) {
      // Answers to HEAD have no body that names the code.
      if (!hasCode(error, 'token_expired', 'unauthorized', 'http_401')) throw error;
      tokens.discard();
      return once();
    }
  };
  const persist: Session['persist'] = (work, signal = options.signal) =>
    retry(work, { timing, backoff, signal, onRetry });
  return {
    ...options,
    api,
    tracing,
    audience,
    identity,
    clock,
    call,
    persist,
    insist: (make, callOptions) => persist(() => call(make, callOptions), callOptions?.signal),
    authenticate: async () => void (await tokens.get()),
  };
}
