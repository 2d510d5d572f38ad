import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Deps } from '../../deps.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { DevicePrincipal, Principal } from '../../domain/role.ts';
import { isTracing } from '../../tracing/spans.ts';
import type { AppEnv } from '../context.ts';
import type { Guards } from '../limits/guards.ts';

/**
 * Takes a request without a router, if it can. False: the app is to answer. True: it is being answered; should that fail,
 * `fallBack` is called before anything was written, and the app answers.
 */
export type Quick = (incoming: IncomingMessage, outgoing: ServerResponse, fallBack: () => void) => boolean;

/** Why a request that was looked at, and counted, has to be refused by the app. */
export interface Failure {
  operation: string;
  error: unknown;
  /** When it came, as `performance.now()` has it. */
  started: number;
  /** Headers that tell the limits it was counted by, names and values in turn. */
  told: readonly string[];
}

export interface Failures {
  note(incoming: IncomingMessage, failure: Failure): void;
  /** Throws, in the app, what a request failed with before. Behind what gives every answer its headers. */
  rethrow: MiddlewareHandler<AppEnv>;
}

export function createFailures(): Failures {
  const failures = new WeakMap<IncomingMessage, Failure>();
  return {
    note: (incoming, failure) => void failures.set(incoming, failure),
    rethrow: createMiddleware<AppEnv>(async (c, next) => {
      const failure = c.env?.incoming && failures.get(c.env.incoming);
      if (!failure) return next();
      const { operation, started, told, error } = failure;
      c.set('operation', operation);
      c.set('started', started);
      for (let at = 0; at < told.length; at += 2) c.header(told[at]!, told[at + 1]!);
      throw error;
    }),
  };
}

/** Neither to be shed nor to be traced, which the app does. */
export function mayBeQuick(guards: Pick<Guards, 'readLoad'>): boolean {
  return guards.readLoad() === 'normal' && !isTracing();
}

/** One token: of several the operation decides. The body at once and of a known length; not a part of the answer. */
export function isPlain({ headers, rawHeaders }: IncomingMessage): boolean {
  const { range, expect, 'transfer-encoding': encoding } = headers;
  if ((range ?? expect ?? encoding) !== undefined) return false;
  let tokens = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length === 'authorization'.length && name.toLowerCase() === 'authorization') tokens += 1;
  }
  return tokens === 1;
}

/** The same of a request without a body. */
export function isPlainGet(incoming: IncomingMessage): boolean {
  return incoming.method === 'GET' && incoming.headers['content-length'] === undefined && isPlain(incoming);
}

/** Counts the request: what tells the limits, and the refusal if one of them is used up. */
export function countRequest(
  { limits }: Guards,
  { headers, socket, method }: IncomingMessage,
  principal: Principal,
  path: string,
): { told: string[]; refusal: FedEdgeError | undefined } {
  const told: string[] = [];
  const header = (name: string, value: string) => {
    const known = told.indexOf(name);
    if (known < 0) told.push(name, value);
    else told[known + 1] = value;
  };
  const { remoteAddress } = socket;
  const forwardedFor = headers['x-forwarded-for'] as string | undefined;
  try {
    limits.countAddress({ header }, { method: method!, path, remoteAddress, forwardedFor });
    limits.countPrincipal({ header }, principal);
    return { told, refusal: undefined };
  } catch (error) {
    if (error instanceof FedEdgeError) return { told, refusal: error };
    throw error;
  }
}

/** A request that is answered without the router. */
export interface Taken {
  incoming: IncomingMessage;
  outgoing: ServerResponse;
  operation: string;
  path: string;
  /** When it came, as `performance.now()` has it. */
  started: number;
}

/** What an answer says of its own. */
export interface Content {
  status: number;
  /** Names and values in turn. */
  headers: readonly string[];
  content: string | Uint8Array | undefined;
}

/** JSON that nobody keeps. */
export function jsonContent(status: number, value: object): Content {
  const content = JSON.stringify(value);
  const length = String(Buffer.byteLength(content));
  const headers = ['cache-control', 'no-store', 'content-type', 'application/json', 'content-length', length];
  return { status, headers, content };
}

/** What is done for a request that is not answered at once. */
export interface Service {
  /** Who asks. Undefined: it is not for us. What this rejects with the app finds out for itself, as nothing was counted. */
  recognize(): Promise<DevicePrincipal | undefined>;
  serve(device: DevicePrincipal): Promise<Content>;
}

/** Answers as soon as the request was served; where it could not be, the app answers. */
export function answerLater(
  deps: Pick<Deps, 'metrics' | 'log'>,
  { guards, failures }: { guards: Guards; failures: Failures },
  taken: Taken,
  { recognize, serve, fallBack }: Service & { fallBack(): void },
): void {
  const { incoming, outgoing, operation, path, started } = taken;

  async function attempt(): Promise<void> {
    const device = await recognize().catch(() => undefined);
    if (!device) return fallBack();
    const { told, refusal } = countRequest(guards, incoming, device, path);
    let content: Content;
    try {
      if (refusal) throw refusal;
      content = await serve(device);
    } catch (error) {
      failures.note(incoming, { operation, error, started, told });
      return fallBack();
    }
    answer(deps, guards, { ...taken, told }, content);
  }

  attempt().catch((error: unknown) => {
    deps.log.error({ err: error }, 'an answer failed');
    outgoing.destroy();
  });
}

/** A request that was let in, and counted. */
export interface Admitted extends Taken {
  /** Headers that tell the limits it was counted by, names and values in turn. */
  told: readonly string[];
}

/** Answers with what every answer has besides; measures and logs as the app does. */
export function answer(
  { metrics, log }: Pick<Deps, 'metrics' | 'log'>,
  guards: Guards,
  { incoming, outgoing, operation, path, started, told }: Admitted,
  { status, headers, content }: Content,
): void {
  const requestId = randomUUID();
  const common = guards.constantHeaders(status, incoming.headers.origin);
  outgoing.writeHead(status, ['x-request-id', requestId, ...common, ...told, ...headers]);
  outgoing.end(content);
  const ms = performance.now() - started;
  metrics.httpSeconds.observe(operation, status, ms / 1000);
  log.info({ requestId, method: incoming.method, path, status, ms: Math.round(ms) });
}
