import { type RouteConfig, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { FedEdgeError, type ProblemCode, problems } from '../../domain/errors.ts';
import type { Policy } from '../../domain/role.ts';
import { isOutage } from '../../store/outage.ts';
import type { AppEnv } from '../context.ts';

const RETRY_AFTER_SECONDS = 2;
/** Who is turned away together should not come back together. */
const OVERLOADED_SECONDS = { least: 2, spread: 6 };

/** A problem document (RFC 9457) with our extension members. */
const Problem = z
  .looseObject({
    type: z.string().openapi({ example: '/docs/problems#late' }),
    title: z.string(),
    status: z.int(),
    code: z.string().openapi({ example: 'late', description: 'Stable: switch on this.' }),
    help: z.string().openapi({ description: 'What to do.' }),
    requestId: z.string(),
  })
  .openapi('Problem');

/** The one place where an error becomes an answer. What nobody expected is logged and answered with 500. */
export function renderError(error: Error, c: Context<AppEnv>): Response {
  const known = toFedEdgeError(error);
  if (known.code === 'internal') c.get('log').error({ err: error }, 'request failed');
  else if (known.code === 'unavailable') c.get('log').warn({ err: error.cause ?? error }, 'unavailable');
  return renderProblem(known, c);
}

export function renderProblem(error: FedEdgeError, c: Context<AppEnv>): Response {
  const [status, title, help] = problems[error.code];
  const document = {
    type: `/docs/problems#${error.code}`,
    title,
    status,
    code: error.code,
    help,
    requestId: c.get('requestId'),
    ...error.details,
  };
  return c.body(JSON.stringify(document), status, {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
    ...(status === 401 ? { 'www-authenticate': 'Bearer' } : {}),
    ...(status === 503 || error.code === 'idempotency_in_progress'
      ? { 'retry-after': String(retryAfterSeconds(error.code)) }
      : {}),
  });
}

/** How long a caller is to stay away, in whole seconds. */
export function retryAfterSeconds(code: ProblemCode): number {
  if (code !== 'overloaded') return RETRY_AFTER_SECONDS;
  return OVERLOADED_SECONDS.least + Math.floor(Math.random() * OVERLOADED_SECONDS.spread);
}

/** Maps what the layers below throw to an error with a code. Outages are 503, never protocol outcomes. */
export function toFedEdgeError(error: Error): FedEdgeError {
  if (error instanceof FedEdgeError) return error;
  if (error instanceof HTTPException && error.status < 500) {
    return new FedEdgeError('invalid_request', { errors: [{ path: '', message: error.message }] });
  }
  if (isOutage(error)) return new FedEdgeError('unavailable', {}, { cause: error });
  return new FedEdgeError('internal', {}, { cause: error });
}

/** The codes that an operation may answer with because of what it is. */
export function commonProblems(policy: Policy, request: RouteConfig['request']): ProblemCode[] {
  const codes: ProblemCode[] = [
    'internal',
    'unavailable',
    'overloaded',
    'shutting_down',
    'invalid_request',
    'rate_limited',
  ];
  if (policy !== 'public') codes.push('unauthorized', 'token_expired', 'forbidden');
  if (request?.params) codes.push('not_found');
  if (request?.query instanceof z.ZodObject && 'cursor' in request.query.shape) codes.push('invalid_cursor');
  if (request?.body) codes.push('length_required', 'too_large', 'unsupported_media_type');
  return codes;
}

const retryHeaders = z.object({
  'Retry-After': z.string().openapi({ description: 'Seconds to stay away.', example: '2' }),
});

/** The document's responses for these codes, grouped by status. */
export function problemResponses(codes: readonly ProblemCode[]): RouteConfig['responses'] {
  const byStatus = Map.groupBy(new Set(codes), (code) => problems[code][0]);
  return Object.fromEntries(
    [...byStatus].map(([status, members]) => [
      status,
      {
        description: members.map((code) => `\`${code}\`: ${problems[code][1]}.`).join('\n\n'),
        ...(status === 429 || status === 503 ? { headers: retryHeaders } : {}),
        content: problemContent(members[0]!),
      },
    ]),
  );
}

/** A problem as the document's content of a response, with this code as the example. */
export function problemContent(code: ProblemCode) {
  const [status, title, help] = problems[code];
  const example = {
    type: `/docs/problems#${code}`,
    title,
    status,
    code,
    help,
    requestId: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44',
  };
  return { 'application/problem+json': { schema: Problem, example } };
}
