import type { MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import type { Deps } from '../../deps.ts';
import type { AppEnv } from '../context.ts';
import { securityHeaders } from '../wire/answer-headers.ts';
import { createCors } from '../wire/cors.ts';
import { createLoadGauge, type Load } from './load.ts';
import { createRateLimits } from './rate-limits.ts';
import { shedLoad } from './shedding.ts';
import { createUploadSlots } from './upload-slots.ts';

export interface GuardOptions {
  /** Unset: what this process measures of itself. */
  readLoad?: (() => Load) | undefined;
}

/** What stands before every route, in this order: headers, preflights, load, limits by address. */
export function createGuards(
  deps: Pick<Deps, 'config' | 'clock' | 'publicUrl'>,
  { readLoad = createLoadGauge() }: GuardOptions,
): MiddlewareHandler<AppEnv>[] {
  const { corsOrigins, uploads } = deps.config.limits;
  const cors = createCors(corsOrigins);
  const always = securityHeaders(deps);
  const limits = createRateLimits(deps);
  const slots = createUploadSlots({ slots: uploads });
  const prepare = createMiddleware<AppEnv>(async (c, next) => {
    const common = { 'x-request-id': c.var.requestId, ...always, ...cors.headersFor(c.req.header('origin')) };
    c.set('commonHeaders', common);
    c.set('uploads', slots);
    c.set('countRequest', (principal) => limits.countPrincipal(c, principal));
    // Before the answer is made: a header that is added afterwards costs a copy of the body.
    setHeaders(c, common);
    await next();
    if (!c.res.headers.has('x-request-id')) setHeaders(c, common);
  });
  const countAddress = createMiddleware<AppEnv>(async (c, next) => {
    limits.countAddress(c);
    await next();
  });
  return [prepare, cors.answerPreflights, shedLoad(readLoad), countAddress];
}

function setHeaders(c: { header(name: string, value: string): void }, headers: Record<string, string>): void {
  for (const [name, value] of Object.entries(headers)) c.header(name, value);
}
