import { createMiddleware } from 'hono/factory';
import { FedEdgeError } from '../../domain/errors.ts';
import type { AppEnv } from '../context.ts';
import type { Load } from './load.ts';

/** Answered whatever the load: who asks decides by it whether this process is to live. */
const HEALTH: ReadonlySet<string> = new Set(['/livez', '/readyz', '/metrics']);
/** Results of work that devices have done, and the tokens they come with: taking them is what ends a load. */
const RESULTS = /^\/v1\/(assignments\/|uploads\/|token$)/;

/** Refuses what can wait while there is too much to do, before anything is done for it. Throws `overloaded`. */
export function shedLoad(readLoad: () => Load) {
  return createMiddleware<AppEnv>(async (c, next) => {
    const load = readLoad();
    if (load !== 'normal' && !isServed(c.req.path, load)) throw new FedEdgeError('overloaded');
    await next();
  });
}

function isServed(path: string, load: Exclude<Load, 'normal'>): boolean {
  return HEALTH.has(path) || (load === 'high' && RESULTS.test(path));
}
