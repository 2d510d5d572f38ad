import { createRoute, OpenAPIHono, type RouteConfig, z } from '@hono/zod-openapi';
import { createMiddleware } from 'hono/factory';
import { FedEdgeError, type ProblemCode } from '../../domain/errors.ts';
import type { Policy } from '../../domain/role.ts';
import type { AppEnv } from '../context.ts';
import { answerRepeats, idempotencyHeaders, idempotencyProblems } from './idempotency.ts';
import { commonProblems, problemResponses } from './problems.ts';

type Request = NonNullable<RouteConfig['request']>;
type Responses = RouteConfig['responses'];
type Method = 'get' | 'post' | 'put' | 'patch' | 'delete' | 'head';

interface Operation<M extends Method, P extends string, Q extends Request, R extends Responses> {
  method: M;
  path: P;
  operationId: string;
  tag: string;
  summary: string;
  description?: string;
  policy: Policy;
  request?: Q;
  responses: R;
  /** Beyond those that every operation may answer with. */
  problems?: readonly ProblemCode[];
  /** Longest JSON body, in bytes. */
  maxBodyBytes?: number;
  /** Repeats with one Idempotency-Key have one effect and one answer. For POSTs of operators with JSON bodies. */
  idempotent?: boolean;
}

const DEFAULT_MAX_BODY_BYTES = 64 * 1024;

/** Declares an operation of the contract: its place in the document, who may call it, and what it may answer. */
export function defineOperation<
  M extends Method,
  const P extends string,
  Q extends Request = Record<never, never>,
  R extends Responses = Responses,
>(operation: Operation<M, P, Q, R>) {
  const { method, path, operationId, tag, summary, description, policy, responses } = operation;
  const { idempotent = false, maxBodyBytes = DEFAULT_MAX_BODY_BYTES } = operation;
  const request = idempotent ? withHeaders(operation.request, idempotencyHeaders) : operation.request;
  const codes = [
    ...commonProblems(policy, request),
    ...(idempotent ? idempotencyProblems : []),
    ...(operation.problems ?? []),
  ];
  return createRoute({
    method,
    path,
    operationId,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    'x-policy': policy,
    security: securityOf(policy),
    request: request as Q,
    responses: { ...problemResponses(codes), ...responses } as R,
    middleware: [
      nameRequest(operationId),
      authorize(policy),
      ...(idempotent || readsJson(request) ? [limitBody(maxBodyBytes)] : []),
      ...(idempotent ? [answerRepeats()] : []),
    ],
  });
}

/** A router for one noun; a request that does not fit its schema becomes an `invalid_request` problem. */
export function createRouter(): OpenAPIHono<AppEnv> {
  return new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw new FedEdgeError('invalid_request', { errors: listFaults(result.error) });
    },
  });
}

/** A JSON response of the document. */
export function json<S extends z.ZodType>(schema: S, description: string) {
  return { description, content: { 'application/json': { schema } } };
}

/** A required JSON request body of the document. */
export function jsonBody<S extends z.ZodType>(schema: S) {
  return { required: true, content: { 'application/json': { schema } } };
}

function withHeaders(request: Request | undefined, headers: z.ZodObject): Request {
  const own = request?.headers;
  return { ...request, headers: own instanceof z.ZodObject ? headers.extend(own.shape) : headers };
}

function securityOf(policy: Policy): Record<string, string[]>[] {
  if (policy === 'public') return [];
  if (policy === 'member') return [{ deviceToken: [] }, { operatorKey: [] }];
  return policy === 'device' ? [{ deviceToken: [] }] : [{ operatorKey: [] }];
}

function nameRequest(operationId: string) {
  return createMiddleware<AppEnv>(async (c, next) => {
    c.set('operation', operationId);
    await next();
  });
}

function authorize(policy: Policy) {
  return createMiddleware<AppEnv>(async (c, next) => {
    if (policy !== 'public') {
      const principal = await c.get('authenticate')(c.req.header('authorization'), policy);
      c.set('principal', principal);
      c.get('countRequest')(principal);
      // What has to stay, such as weights, says so itself.
      c.header('cache-control', 'no-store');
    }
    await next();
  });
}

function readsJson(request: Request | undefined): boolean {
  return request?.body !== undefined && 'application/json' in request.body.content;
}

/**
 * Bodies that are read into memory declare their length, so that one over the limit is refused before it is read.
 * Whatever type it claims to be of: the validator takes `application/x+json` for JSON too.
 */
function limitBody(maxBytes: number) {
  return createMiddleware<AppEnv>(async (c, next) => {
    const length = c.req.header('content-length');
    if (length === undefined && c.req.header('transfer-encoding')) throw new FedEdgeError('length_required');
    if (Number(length) > maxBytes) throw new FedEdgeError('too_large', { maxBytes });
    if (c.req.header('expect')) c.env?.outgoing?.writeContinue();
    await next();
  });
}

function listFaults(error: z.ZodError): { path: string; message: string }[] {
  return error.issues.slice(0, 20).map(({ path, message }) => ({ path: path.join('.'), message }));
}
