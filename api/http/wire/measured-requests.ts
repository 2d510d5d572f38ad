import { createMiddleware } from 'hono/factory';
import type { Deps } from '../../deps.ts';
import { traced } from '../../tracing/spans.ts';
import type { AppEnv } from '../context.ts';

/** Times and traces every request by its operation, and counts the bytes of bodies that were taken and of files that went out. */
export function measureRequests({ metrics }: Pick<Deps, 'metrics'>) {
  return createMiddleware<AppEnv>(async (c, next) => {
    c.set('started', performance.now());
    const traceparent = c.req.header('traceparent');
    await traced('request', { 'http.request.method': c.req.method, traceparent }, async (span) => {
      await next();
      span
        .updateName(c.get('operation') ?? 'unknown')
        .setAttribute('http.response.status_code', c.res.status);
    });
    const operation = c.get('operation') ?? 'unknown';
    metrics.httpSeconds.observe(operation, c.res.status, (performance.now() - c.get('started')) / 1000);
    const fileBytes = c.get('fileBytes');
    if (fileBytes !== undefined) metrics.downloadedBytes.inc(fileBytes);
    const sent = Number(c.req.header('content-length'));
    if (c.res.status < 300 && sent > 0) metrics.uploadedBytes.inc({ operation }, sent);
  });
}
