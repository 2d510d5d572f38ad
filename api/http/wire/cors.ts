import { createMiddleware } from 'hono/factory';
import type { AppEnv } from '../context.ts';

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
/** Every header that an operation reads. A test holds that against the document. */
const REQUEST_HEADERS = [
  'Authorization',
  'Content-Type',
  'Content-Digest',
  'Repr-Digest',
  'Idempotency-Key',
  'If-None-Match',
  'If-Range',
  'Range',
  'Last-Event-ID',
  'Upload-Complete',
  'Upload-Draft-Interop-Version',
  'Upload-Length',
  'Upload-Offset',
  'traceparent',
  'tracestate',
].join(', ');
/** Every header of an answer that a client reads. */
const ANSWER_HEADERS = [
  'Accept-Ranges',
  'Content-Digest',
  'Content-Range',
  'ETag',
  'Idempotent-Replayed',
  'Location',
  'RateLimit',
  'RateLimit-Policy',
  'Repr-Digest',
  'Retry-After',
  'Upload-Complete',
  'Upload-Length',
  'Upload-Limit',
  'Upload-Offset',
  'WWW-Authenticate',
  'X-Request-Id',
].join(', ');
const MAX_AGE_SECONDS = 7200;

/** Lets pages of some origins call the API (the CORS protocol of the Fetch standard). Bearer tokens, never cookies. */
export interface Cors {
  /** What an answer to a request of this origin says beside its own headers. */
  headersFor(origin: string | undefined): Record<string, string>;
  /** Answers preflights of these origins. */
  answerPreflights: ReturnType<typeof createMiddleware<AppEnv>>;
}

export function createCors(origins: readonly string[]): Cors {
  const allowed = new Set(origins);
  const isOff = allowed.size === 0;
  return {
    headersFor(origin) {
      if (isOff) return {};
      if (origin === undefined || !allowed.has(origin)) return { vary: 'Origin' };
      return {
        vary: 'Origin',
        'access-control-allow-origin': origin,
        'access-control-expose-headers': ANSWER_HEADERS,
      };
    },
    answerPreflights: createMiddleware<AppEnv>(async (c, next) => {
      const asked = c.req.method === 'OPTIONS' && c.req.header('access-control-request-method');
      if (isOff || !asked || !allowed.has(c.req.header('origin') ?? '')) return next();
      c.header('access-control-allow-methods', METHODS);
      c.header('access-control-allow-headers', REQUEST_HEADERS);
      c.header('access-control-max-age', String(MAX_AGE_SECONDS));
      return c.body(null, 204);
    }),
  };
}
