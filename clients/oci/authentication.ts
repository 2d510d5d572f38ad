import { RegistryError, refusal } from './registry-error.ts';

export interface Credentials {
  username: string;
  password: string;
}

export type Send = (url: string | URL, init?: RequestInit) => Promise<Response>;

interface Access {
  /** The registry's root: nothing of ours goes anywhere else. */
  root: string;
  credentials: Credentials | undefined;
  fetch: typeof fetch;
  signal: AbortSignal | undefined;
}

interface Challenge {
  scheme: string;
  parameters: ReadonlyMap<string, string>;
}

/**
 * Requests as the registry wants them: without credentials until it asks, then by `Basic`, or by the token that the
 * named service gives for them (`Bearer`; distribution specification, token authentication). The body of a request
 * that is asked again is sent again, so it is bytes or a Blob. Another host, as an upload may name, gets no credentials.
 */
export function createSend({ root, credentials, fetch, signal }: Access): Send {
  let authorization: string | undefined;
  const { origin } = new URL(root);

  async function once(url: URL, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (authorization && url.origin === origin) headers.set('authorization', authorization);
    const bounds = signal ? { signal } : {};
    return reach(fetch, url, { ...init, ...bounds, headers });
  }

  return async (target, init = {}) => {
    const url = new URL(target, root);
    const response = await once(url, init);
    if (response.status !== 401 || url.origin !== origin) return response;
    const challenge = readChallenge(response.headers.get('www-authenticate'));
    await response.body?.cancel();
    const answer = await authorize(challenge, { root, credentials, fetch, signal });
    if (answer === authorization) throw new RegistryError('the registry refuses the credentials', 401);
    authorization = answer;
    return once(url, init);
  };
}

async function authorize(challenge: Challenge | undefined, access: Access): Promise<string> {
  const { credentials } = access;
  if (challenge?.scheme === 'bearer') return `Bearer ${await fetchToken(challenge.parameters, access)}`;
  if (challenge?.scheme !== 'basic') {
    throw new RegistryError('the registry wants a way of signing in that is not known here', 401);
  }
  if (!credentials) throw new RegistryError('the registry wants a user name and a password', 401);
  return basic(credentials);
}

/** The token for what the challenge names, where it is to be had. */
async function fetchToken(parameters: ReadonlyMap<string, string>, access: Access): Promise<string> {
  const { root, credentials, fetch, signal } = access;
  const realm = parameters.get('realm') ?? '';
  if (!URL.canParse(realm)) throw new RegistryError('the registry names no token service', 401);
  const url = new URL(realm);
  if (url.protocol !== 'https:' && new URL(root).protocol === 'https:') {
    throw new RegistryError(`the token service ${url.origin} is not encrypted: it gets no credentials`, 401);
  }
  for (const name of ['service', 'scope']) {
    const value = parameters.get(name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const headers = credentials ? { authorization: basic(credentials) } : {};
  const response = await reach(fetch, url, { headers, ...(signal && { signal }) });
  if (!response.ok) throw await refusal(`no token from ${url.origin}`, response);
  const { token, access_token: accessToken } = (await response.json()) as Record<string, unknown>;
  const answer = token ?? accessToken;
  if (typeof answer !== 'string') throw new RegistryError(`${url.origin} gave no token`, response.status);
  return answer;
}

/** `Bearer realm="https://...",service="...",scope="..."` (RFC 9110, section 11.6.1); the first that is known. */
function readChallenge(field: string | null): Challenge | undefined {
  const found = /\b(basic|bearer)\b\s*(.*)/i.exec(field ?? '');
  if (!found) return undefined;
  const parts = found[2]!.matchAll(/([a-z_]+)="([^"]*)"/gi);
  return {
    scheme: found[1]!.toLowerCase(),
    parameters: new Map([...parts].map(([, name, value]) => [name!.toLowerCase(), value!])),
  };
}

function basic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

async function reach(send: typeof fetch, url: URL, init: RequestInit): Promise<Response> {
  try {
    return await send(url, init);
  } catch (error) {
    init.signal?.throwIfAborted();
    const reason =
      error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new RegistryError(`${url.origin} was not reached: ${reason}`, 0, error);
  }
}
