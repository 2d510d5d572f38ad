import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import * as enrollment from '../../services/identity/enrollment-tokens.ts';
import type { EnrollmentTokenRow } from '../../store/identity/enrollment-tokens.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { pageOf, pageQuery, readPage, toPage } from '../contract/pagination.ts';
import { idSchema, instantSchema, labelsSchema } from '../schemas/devices.ts';
import { trimmedLine } from '../schemas/text.ts';

const tag = 'Enrolment tokens';
const DAY_SECONDS = 86_400;
const tokenFields = {
  id: idSchema,
  name: z.string().max(100).openapi({ example: 'berlin gateways' }),
  labels: labelsSchema,
  requiresApproval: z.boolean(),
  maxUses: z.int().min(1).openapi({ example: 100 }),
  uses: z.int().min(0).openapi({ example: 3 }),
  expiresAt: instantSchema,
  createdAt: instantSchema,
  revokedAt: instantSchema.optional(),
} as const;
const enrollmentToken = z.object(tokenFields).openapi('EnrollmentToken');
const createdToken = z
  .object({
    ...tokenFields,
    token: z.string().max(128).openapi({
      description: 'The secret. It is shown this once.',
      example: 'fedenr_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    }),
  })
  .openapi('CreatedEnrollmentToken');

const createEnrollmentTokenOperation = defineOperation({
  method: 'post',
  path: '/v1/enrollment-tokens',
  operationId: 'createEnrollmentToken',
  tag,
  summary: 'Create an enrolment token',
  policy: 'operator',
  idempotent: true,
  request: {
    body: jsonBody(
      z
        .strictObject({
          name: trimmedLine(100).openapi({ example: 'berlin gateways' }),
          labels: labelsSchema.default({}).openapi({ description: 'Given to every device that enrols.' }),
          requiresApproval: z
            .boolean()
            .default(false)
            .openapi({ description: 'Devices are pending until an operator approves them.' }),
          maxUses: z.int().min(1).max(1_000_000).default(1).openapi({ example: 100 }),
          expiresInSeconds: z
            .int()
            .min(1)
            .max(366 * DAY_SECONDS)
            .default(DAY_SECONDS)
            .openapi({ example: DAY_SECONDS }),
        })
        .openapi('CreateEnrollmentToken'),
    ),
  },
  responses: { 201: json(createdToken, 'The token, with its secret.') },
});

const listEnrollmentTokensOperation = defineOperation({
  method: 'get',
  path: '/v1/enrollment-tokens',
  operationId: 'listEnrollmentTokens',
  tag,
  summary: 'List enrolment tokens',
  policy: 'viewer',
  request: { query: pageQuery },
  responses: { 200: json(pageOf(enrollmentToken, 'EnrollmentTokenPage'), 'Tokens, without their secrets.') },
  problems: ['invalid_cursor'],
});

const revokeEnrollmentTokenOperation = defineOperation({
  method: 'delete',
  path: '/v1/enrollment-tokens/{token}',
  operationId: 'revokeEnrollmentToken',
  tag,
  summary: 'Revoke an enrolment token',
  description: 'No device enrols with it any more; those that did stay. A repeat changes nothing.',
  policy: 'operator',
  request: { params: z.object({ token: idSchema }) },
  responses: { 204: { description: 'It is revoked.' } },
});

export function enrollmentTokensRoutes(deps: Deps) {
  const router = createRouter();
  router.openapi(createEnrollmentTokenOperation, async (c) => {
    const { token, secret } = await enrollment.createEnrollmentToken(
      deps,
      c.get('principal'),
      c.req.valid('json'),
    );
    return c.json({ ...toToken(token), token: secret }, 201);
  });
  router.openapi(listEnrollmentTokensOperation, async (c) => {
    const page = readPage(c.req.valid('query'));
    const rows = await enrollment.listEnrollmentTokens(deps, c.get('principal'), page);
    return c.json(toPage(rows, page.limit, { item: toToken, cursor: ({ id }) => id }), 200);
  });
  router.openapi(revokeEnrollmentTokenOperation, async (c) => {
    await enrollment.revokeEnrollmentToken(deps, c.get('principal'), c.req.valid('param').token);
    return c.body(null, 204);
  });
  return router;
}

function toToken(row: EnrollmentTokenRow): z.infer<typeof enrollmentToken> {
  const { id, name, labels, requiresApproval, maxUses, uses } = row;
  return {
    id,
    name,
    labels,
    requiresApproval,
    maxUses,
    uses,
    expiresAt: row.expiresAt.toISOString(),
    createdAt: row.createdAt.toISOString(),
    ...(row.revokedAt && { revokedAt: row.revokedAt.toISOString() }),
  };
}
