import { createHash } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { createMiddleware } from 'hono/factory';
import { FedEdgeError, type ProblemCode } from '../../domain/errors.ts';
import type { Answer } from '../../services/journal/idempotency.ts';
import type { AppEnv } from '../context.ts';

const HEADER = 'Idempotency-Key';
const KEPT_HEADERS = ['content-type', 'location', 'etag'];

const Key = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[\x21-\x7e]+$/);

/** The header parameter of operations that are declared `idempotent`. */
export const idempotencyHeaders = z.object({
  [HEADER]: Key.optional().openapi({
    description:
      'A name of your choice for this request, such as a UUID. A repeat with the same key has no second effect: it gets ' +
      'the first answer, with `Idempotent-Replayed: true`, for 24 hours. A refused request frees its key. Answers are ' +
      'kept encrypted with the credentials of the request, which a repeat has to use too.',
    example: '7f6c1b1e-2f0d-4a5e-9b57-0d5f1f8f4c11',
  }),
});

export const idempotencyProblems: readonly ProblemCode[] = [
  'idempotency_in_progress',
  'idempotency_answer_lost',
  'idempotency_key_reused',
  'length_required',
  'too_large',
];

/** Lets the requests that share an Idempotency-Key have one effect and one answer. Goes after authentication. */
export function answerRepeats() {
  return createMiddleware<AppEnv>(async (c, next) => {
    const header = c.req.header(HEADER);
    if (header === undefined) return next();
    const request = {
      principal: c.get('principal'),
      key: parseKey(header),
      requestHash: await hashRequest(c),
      secret: c.req.header('authorization') ?? '',
    };
    const { answer, replayed } = await c.get('answerOnce')(request, async () => {
      await next();
      return readAnswer(c.res);
    });
    if (replayed) c.res = new Response(answer.body, { ...answer, headers: replayHeaders(answer) });
  });
}

function parseKey(header: string): string {
  const { data, error } = Key.safeParse(header);
  if (data !== undefined) return data;
  throw new FedEdgeError('invalid_request', {
    errors: [{ path: HEADER, message: error!.issues[0]!.message }],
  });
}

async function hashRequest(c: Context<AppEnv>): Promise<string> {
  const { pathname, search } = new URL(c.req.url);
  const body = new Uint8Array(await c.req.arrayBuffer());
  return createHash('sha256').update(`${c.req.method} ${pathname}${search}\n`).update(body).digest('hex');
}

async function readAnswer(response: Response): Promise<Answer> {
  const kept = KEPT_HEADERS.flatMap((name) => {
    const value = response.headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  const body = await response.clone().text();
  return { status: response.status, headers: Object.fromEntries(kept), body };
}

function replayHeaders({ headers }: Answer): Record<string, string> {
  return { ...headers, 'cache-control': 'no-store', 'idempotent-replayed': 'true' };
}
