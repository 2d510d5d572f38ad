import { getOutward } from './outward-requests.ts';

const MAX_SHORT_BYTES = 1 << 20;

/** What a registry, or a service that it sends us to, refused. `status` is 0 where nothing answered. */
export class RegistryError extends Error {
  readonly status: number;

  constructor(message: string, status: number, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RegistryError';
    this.status = status;
  }
}

export interface RegistryAccess {
  /** The registry's root, `https://registry.example/v2/`: credentials go nowhere else. */
  root: string;
  /** `user:password` in base64, as the `auth` of Docker's configuration. */
  credentials: string | undefined;
  signal: AbortSignal;
}

/**
 * A GET as the registry wants it: without credentials until it asks, then by `Basic`, or with the token that the service
 * of its challenge gives for them (OCI distribution specification 1.1). Redirects to another host carry no credentials.
 * Throws RegistryError unless the answer is a success.
 */
export async function getFromRegistry(
  access: RegistryAccess,
  path: string,
  accept = '*/*',
): Promise<Response> {
  const url = `${access.root}${path}`;
  const first = await reach(url, { accept }, access.signal);
  const answer = first.status === 401 ? await getAuthorized(access, url, accept, first) : first;
  if (answer.ok) return answer;
  await answer.body?.cancel();
  throw new RegistryError(`${new URL(url).host} answered ${answer.status} for ${path}`, answer.status);
}

async function getAuthorized(
  access: RegistryAccess,
  url: string,
  accept: string,
  refusal: Response,
): Promise<Response> {
  const challenge = refusal.headers.get('www-authenticate') ?? '';
  await refusal.body?.cancel();
  const authorization = /\bbearer\b/i.test(challenge)
    ? `Bearer ${await fetchToken(access, readParameters(challenge))}`
    : basic(access);
  return reach(url, { accept, authorization }, access.signal);
}

/** `Bearer realm="https://...",service="...",scope="..."` (RFC 9110 section 11.6.1). */
function readParameters(challenge: string): ReadonlyMap<string, string> {
  const found = challenge.matchAll(/([a-z_]+)="([^"]*)"/gi);
  return new Map([...found].map(([, name, value]) => [name!.toLowerCase(), value!]));
}

async function fetchToken(access: RegistryAccess, parameters: ReadonlyMap<string, string>): Promise<string> {
  const realm = parameters.get('realm') ?? '';
  if (!URL.canParse(realm)) throw new RegistryError('the registry names no token service', 401);
  const url = new URL(realm);
  if (url.protocol !== 'https:' && access.root.startsWith('https:')) {
    throw new RegistryError(`the token service ${url.origin} is not encrypted`, 401);
  }
  for (const name of ['service', 'scope']) {
    const value = parameters.get(name);
    if (value !== undefined) url.searchParams.set(name, value);
  }
  const headers: Record<string, string> = access.credentials ? { authorization: basic(access) } : {};
  const answer = await reach(url.href, headers, access.signal);
  const body = parseObject(await readShort(answer));
  const token = body?.token ?? body?.access_token;
  if (answer.ok && typeof token === 'string') return token;
  throw new RegistryError(`${url.host} gave no token: ${answer.status}`, answer.status);
}

function basic({ credentials, root }: RegistryAccess): string {
  if (credentials === undefined) {
    throw new RegistryError(`${new URL(root).host} wants credentials: see FEDEDGE_REGISTRY_AUTH`, 401);
  }
  return `Basic ${credentials}`;
}

async function reach(url: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  try {
    return await getOutward(url, { headers, signal });
  } catch (error) {
    signal.throwIfAborted();
    const { cause } = error as Error;
    const why = cause instanceof Error ? cause.message : (error as Error).message;
    throw new RegistryError(`${new URL(url).host} cannot be reached: ${why}`, 0, { cause: error });
  }
}

/** A manifest or a token, of at most a megabyte: whoever answers may go on for ever. Throws RegistryError. */
export async function readShort(answer: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of answer.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > MAX_SHORT_BYTES) throw new RegistryError('the answer is too long', answer.status);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Undefined if it is no JSON object. */
export function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    return Object(JSON.parse(Buffer.from(bytes).toString('utf8'))) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
