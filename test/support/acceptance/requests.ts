import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE_MS } from './waiting.ts';

export interface Answer {
  status: number;
  headers: Headers;
  bytes: Buffer;
  json<T = Record<string, unknown>>(): T;
}

export interface Request {
  method: string;
  path: string;
  headers?: Record<string, string>;
  json?: unknown;
  body?: Buffer | URLSearchParams;
  signal?: AbortSignal;
}

/** One request, one answer. Rejects when the connection breaks. */
export async function send(url: string, request: Request): Promise<Answer> {
  const { method, path, json, signal } = request;
  const body = json === undefined ? request.body : JSON.stringify(json);
  const response = await fetch(url + path, {
    method,
    headers: { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...request.headers },
    redirect: 'error',
    ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : body }),
    ...(signal ? { signal } : {}),
  });
  const bytes = Buffer.from(await response.arrayBuffer());
  const { status, headers } = response;
  return { status, headers, bytes, json: <T>() => JSON.parse(bytes.toString()) as T };
}

/**
 * The request until it is answered: what a client does that lost the connection, or that was told to come back (503).
 * `prepare` makes it anew each time, with what may have changed: the URL, a token.
 */
export async function sendUntilAnswered(
  prepare: () => Promise<{ url: string; request: Request }>,
  signal?: AbortSignal,
): Promise<Answer> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      const { url, request } = await prepare();
      const answer = await send(url, request);
      if (answer.status < 500) return answer;
      assertOutage(answer);
      if (Date.now() > deadline) throw new Error(`still unavailable: ${answer.bytes}`);
    } catch (error) {
      if (signal?.aborted || Date.now() > deadline || !(error instanceof TypeError)) throw error;
    }
    await sleep(30);
  }
}

/** Whatever fails behind the server: clients are told to come back, and when. */
export function assertOutage({ status, headers, bytes }: Answer): void {
  if (status === 503 && /^[1-9]\d*$/.test(headers.get('retry-after') ?? '')) return;
  throw new Error(`neither an answer nor an outage: ${status} ${bytes}`);
}

/** The answer's JSON, if it has one of these statuses. Rejects with what came instead. */
export function expectStatus<T>(answer: Answer, ...statuses: number[]): T {
  if (statuses.includes(answer.status)) return (answer.bytes.length > 0 ? answer.json() : undefined) as T;
  throw new Error(`expected ${statuses.join(' or ')}, got ${answer.status}: ${answer.bytes}`);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** The headers that a raw body needs. */
export function rawHeaders(bytes: Uint8Array): Record<string, string> {
  return { 'content-type': 'application/octet-stream', 'content-digest': digestField(bytes) };
}

export function digestField(bytes: Uint8Array): string {
  return `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
}
