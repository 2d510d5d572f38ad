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
  /** What an answer to a request of this origin says beside its own headers: the same object for the same origin. */
  headersFor(origin: string | undefined): Record<string, string>;
  /** Answers preflights of these origins. */
  answerPreflights: ReturnType<typeof createMiddleware<AppEnv>>;
}

export function createCors(origins: readonly string[]): Cors {
  const allowed = new Map(origins.map((origin) => [origin, allowing(origin)]));
  const isOff = allowed.size === 0;
  const others: Record<string, string> = isOff ? {} : { vary: 'Origin' };
  return {
    headersFor: (origin) => (origin === undefined ? others : (allowed.get(origin) ?? others)),
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

function allowing(origin: string): Record<string, string> {
  return {
    vary: 'Origin',
    'access-control-allow-origin': origin,
    'access-control-expose-headers': ANSWER_HEADERS,
  };
}
