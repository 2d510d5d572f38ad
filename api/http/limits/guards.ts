import type { MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Deps } from '../../deps.ts';
import type { AppEnv } from '../context.ts';
import { hostHeaders, removeContentHeaders, securityHeaders } from '../wire/answer-headers.ts';
import { createCors } from '../wire/cors.ts';
import { createLoadGauge, type Load } from './load.ts';
import { createRateLimits, type RateLimits } from './rate-limits.ts';
import { shedLoad } from './shedding.ts';
import { createUploadSlots, type UploadSlots } from './upload-slots.ts';

const NOT_MODIFIED = 304;

export interface GuardOptions {
  /** Unset: what this process measures of itself. */
  readLoad?: (() => Load) | undefined;
}

export interface Guards {
  /** Before everything that may fail: the headers of every answer, and what handlers find in their context. */
  prepare: MiddlewareHandler<AppEnv>;
  /** What stands before every route, in this order: preflights, load, limits by address. */
  handlers: MiddlewareHandler<AppEnv>[];
  limits: RateLimits;
  /** Who reads a tensor body has to be in here. */
  uploads: UploadSlots;
  readLoad(): Load;
  /** What every answer of this status has but the request's id, names and values in turn: made once for an origin. */
  constantHeaders(status: number, origin: string | undefined): readonly string[];
}

export function createGuards(
  deps: Pick<Deps, 'config' | 'clock' | 'publicUrl'>,
  { readLoad = createLoadGauge() }: GuardOptions,
): Guards {
  const { corsOrigins, uploads } = deps.config.limits;
  const cors = createCors(corsOrigins);
  const always = securityHeaders(deps);
  const limits = createRateLimits(deps);
  const slots = createUploadSlots({ slots: uploads });
  const commonHeaders = (requestId: string, origin: string | undefined) => ({
    'x-request-id': requestId,
    ...always,
    ...cors.headersFor(origin),
  });
  const flattened = new WeakMap<Record<string, string>, { all: string[]; unchanged: string[] }>();
  const constantHeaders = (status: number, origin: string | undefined) => {
    const own = cors.headersFor(origin);
    const known = flattened.get(own) ?? {
      all: Object.entries({ ...always, ...own }).flat(),
      unchanged: Object.entries({ ...hostHeaders(deps), ...own }).flat(),
    };
    flattened.set(own, known);
    return status === NOT_MODIFIED ? known.unchanged : known.all;
  };
  const prepare = createMiddleware<AppEnv>(async (c, next) => {
    const common = commonHeaders(c.get('requestId'), c.req.header('origin'));
    c.set('commonHeaders', common);
    c.set('uploads', slots);
    c.set('countRequest', (principal) => limits.countPrincipal(c, principal));
    // Before the answer is made: a header that is added afterwards costs a copy of the body.
    setHeaders(c, common);
    await next();
    if (!c.res.headers.has('x-request-id')) setHeaders(c, common);
    if (c.res.status === NOT_MODIFIED) removeContentHeaders(c.res.headers);
  });
  const countAddress = createMiddleware<AppEnv>(async (c, next) => {
    const { method, path } = c.req;
    const remoteAddress = c.env?.incoming?.socket.remoteAddress;
    limits.countAddress(c, { method, path, remoteAddress, forwardedFor: c.req.header('x-forwarded-for') });
    await next();
  });
  const handlers = [cors.answerPreflights, shedLoad(readLoad), countAddress];
  return { prepare, handlers, limits, uploads: slots, readLoad, constantHeaders };
}

function setHeaders(c: { header(name: string, value: string): void }, headers: Record<string, string>): void {
  for (const [name, value] of Object.entries(headers)) c.header(name, value);
}
