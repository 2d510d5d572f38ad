import { z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import type { Deps } from '../../deps.ts';
import { FedEdgeError, type ProblemCode, problems } from '../../domain/errors.ts';
import { issueToken } from '../../services/identity/tokens.ts';
import type { AppEnv } from '../context.ts';
import { createRouter, defineOperation, json } from '../contract/operation.ts';
import { problemContent, retryAfterSeconds, toFedEdgeError } from '../contract/problems.ts';
import { idSchema } from '../schemas/devices.ts';

const FORM = 'application/x-www-form-urlencoded';
const MAX_FORM_BYTES = 16_384;

const tokenRequest = z
  .object({
    grant_type: z.string().max(100).openapi({ example: 'client_credentials' }),
    client_assertion_type: z
      .string()
      .max(200)
      .openapi({ example: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer' }),
    client_assertion: z.string().max(MAX_FORM_BYTES).openapi({ example: 'eyJhbGciOiJFUzI1NiJ9.e30.c2ln' }),
    client_id: z
      .string()
      .max(100)
      .optional()
      .openapi({ example: idSchema.meta()?.example as string }),
    scope: z.string().max(1000).optional().openapi({ description: 'Ignored.' }),
  })
  .openapi('TokenRequest');

const accessToken = z
  .object({
    access_token: z
      .string()
      .max(4096)
      .openapi({ example: 'eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln' }),
    token_type: z.literal('Bearer'),
    expires_in: z.int().openapi({ description: 'Seconds.', example: 600 }),
  })
  .openapi('AccessToken');

const tokenError = z
  .looseObject({
    error: z.string().max(100).openapi({ example: 'invalid_client' }),
    error_description: z.string().max(1000).optional(),
    code: z.string().max(100).openapi({ description: 'Stable: switch on this.', example: 'device_pending' }),
    serverTime: z.iso
      .datetime()
      .optional()
      .openapi({ description: 'With `clock_skew`: set the clock by it.' }),
  })
  .openapi('TokenError');

/** What is refused before anything is read is refused as everywhere: by a problem document. */
function orProblem(code: ProblemCode, description: string) {
  const { content } = json(tokenError, description);
  return { description, content: { ...content, ...problemContent(code) } };
}

const createTokenOperation = defineOperation({
  method: 'post',
  path: '/v1/token',
  operationId: 'createToken',
  tag: 'Tokens',
  summary: 'Get an access token',
  description:
    'OAuth 2.0 client credentials with `private_key_jwt` (RFC 6749, RFC 7523). The assertion is signed by a key of the device (ES256 or EdDSA): `iss` = `sub` = the id of the device, `aud` = the token endpoint or the public URL, `iat`, `exp` at most 10 minutes later, and a fresh `jti`. Errors follow RFC 6749 section 5.2, with our `code` added: `device_pending` while an operator has not approved the device, `clock_skew` with `serverTime` if the signature holds and the time does not. An assertion is taken once: sign a new one for every request. The first use of a rotated key replaces the old one.',
  policy: 'public',
  request: { body: { required: true, content: { [FORM]: { schema: tokenRequest } } } },
  responses: {
    200: json(accessToken, 'An access token (RFC 9068), bound to the key by `cnf.jkt`.'),
    400: json(tokenError, '`invalid_request`, `unsupported_grant_type`.'),
    401: json(tokenError, '`invalid_client`, `clock_skew`, `device_pending`, `device_revoked`.'),
    411: json(tokenError, '`length_required`.'),
    413: json(tokenError, '`too_large`.'),
    415: json(tokenError, '`unsupported_media_type`.'),
    429: orProblem('rate_limited', '`rate_limited`.'),
    500: json(tokenError, '`internal`.'),
    503: orProblem('overloaded', '`unavailable`, `overloaded`, `shutting_down`.'),
  },
});

export function tokensRoutes(deps: Deps) {
  const router = createRouter();
  router.onError(renderTokenError);
  router.use(createTokenOperation.getRoutingPath(), async (c, next) => {
    limitForm(c);
    await next();
  });
  router.openapi(createTokenOperation, async (c) => {
    const form = c.req.valid('form');
    const { accessToken, expiresInSeconds } = await issueToken(deps, {
      grantType: form.grant_type,
      clientAssertionType: form.client_assertion_type,
      clientAssertion: form.client_assertion,
      clientId: form.client_id,
    });
    c.header('cache-control', 'no-store');
    return c.json(
      { access_token: accessToken, token_type: 'Bearer' as const, expires_in: expiresInSeconds },
      200,
    );
  });
  return router;
}

function limitForm(c: Context<AppEnv>): void {
  const length = c.req.header('content-length');
  if (length === undefined && c.req.header('transfer-encoding')) throw new FedEdgeError('length_required');
  if (Number(length) > MAX_FORM_BYTES) throw new FedEdgeError('too_large', { maxBytes: MAX_FORM_BYTES });
}

const oauthErrors: Partial<Record<ProblemCode, string>> = {
  unsupported_grant_type: 'unsupported_grant_type',
  invalid_client: 'invalid_client',
  clock_skew: 'invalid_client',
  device_pending: 'invalid_client',
  device_revoked: 'invalid_client',
  unavailable: 'temporarily_unavailable',
  overloaded: 'temporarily_unavailable',
  shutting_down: 'temporarily_unavailable',
  internal: 'server_error',
};

/** The one operation whose errors are those of OAuth (RFC 6749 section 5.2) instead of problem documents. */
function renderTokenError(thrown: Error, c: Context<AppEnv>): Response {
  const error = toFedEdgeError(thrown);
  if (error.code === 'internal') c.get('log').error({ err: error }, 'request failed');
  const [status, title] = problems[error.code];
  const { reason, ...details } = error.details;
  const description = typeof reason === 'string' ? `${title}: ${reason}` : title;
  const body = {
    ...details,
    error: oauthErrors[error.code] ?? 'invalid_request',
    error_description: toDescription(description),
    code: error.code,
  };
  if (status === 401) c.header('www-authenticate', 'Bearer');
  if (status === 503) c.header('retry-after', String(retryAfterSeconds(error.code)));
  c.header('cache-control', 'no-store');
  return c.json(body, status);
}

/** RFC 6749 allows printable ASCII without `"` and `\`. */
function toDescription(text: string): string {
  return text.replaceAll('"', "'").replaceAll(/[^\x20-\x5b\x5d-\x7e]/g, '?');
}
