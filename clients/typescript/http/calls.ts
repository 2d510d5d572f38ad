import { type Client, createClient, createConfig } from '../generated/client/index.ts';
import { authorizationOf } from './authorization.ts';
import { ConnectionError, ProblemError } from './problem-error.ts';

/** What a generated call resolves with. */
export interface Outcome<T> {
  data: T | undefined;
  error?: unknown;
  /** Absent if none came. */
  response?: Response;
}

export interface Answer<T> {
  data: T;
  response: Response;
}

export interface ApiOptions {
  url: string;
  /** The bearer token of calls that need one. */
  auth: () => string | Promise<string>;
  fetch?: typeof fetch | undefined;
}

/** The client that generated calls run on. `url` may have a path; what comes after it is appended. */
export function createApi({ url, auth, fetch }: ApiOptions): Client {
  const client = createClient(createConfig({ baseUrl: withoutSlash(url), auth, ...(fetch && { fetch }) }));
  client.interceptors.request.use((request) => {
    const [, token] = /^Bearer (.+)$/.exec(request.headers.get('authorization') ?? '') ?? [];
    if (token !== undefined) request.headers.set('authorization', authorizationOf(token));
    return request;
  });
  return client;
}

export function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}

/**
 * Settles a generated call: its data with the response, or a `ProblemError`, or a `ConnectionError` when no whole
 * answer came. After an abort it throws the signal's reason.
 */
export async function settle<T>(call: Promise<Outcome<T>>, signal: AbortSignal): Promise<Answer<T>> {
  const { data, error, response } = await call.catch(
    (cause: unknown): Outcome<T> => ({ data: undefined, error: cause }),
  );
  if (response?.ok) return { data: data as T, response };
  if (response) throw new ProblemError(response, error);
  signal.throwIfAborted();
  // The token that a call needs is fetched inside of it, and may be refused there.
  throw error instanceof ProblemError || error instanceof ConnectionError
    ? error
    : new ConnectionError(error);
}

/** How long a body may take: a minute, and what a line of a kilobyte a second needs. */
export function transferMs(bytes: number): number {
  return 60_000 + bytes;
}

/** Bounds a call: aborted by the caller's signal or after `ms`. */
export function within(ms: number, signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(ms)]);
}
