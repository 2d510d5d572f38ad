import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import { roles } from '../../domain/role.ts';
import * as operatorKeys from '../../services/identity/operator-keys.ts';
import type { OperatorKeyRow } from '../../store/identity/operator-keys.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { pageOf, pageQuery, readPage, toPage } from '../contract/pagination.ts';
import { idSchema, instantSchema } from '../schemas/devices.ts';
import { trimmedLine } from '../schemas/text.ts';

const tag = 'Operator keys';
const name = trimmedLine(100).openapi({ example: 'release pipeline' });
const role = z.enum(roles).openapi({ example: 'viewer' });
const keyFields = {
  id: idSchema,
  name,
  role,
  createdAt: instantSchema,
  revokedAt: instantSchema.optional(),
} as const;
const operatorKey = z.object(keyFields).openapi('OperatorKey');
const createdKey = z
  .object({
    ...keyFields,
    key: z.string().max(128).openapi({
      description: 'The secret. It is shown this once.',
      example: 'fedop_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    }),
  })
  .openapi('CreatedOperatorKey');

const listOperatorKeysOperation = defineOperation({
  method: 'get',
  path: '/v1/operator-keys',
  operationId: 'listOperatorKeys',
  tag,
  summary: 'List operator keys',
  policy: 'operator',
  request: { query: pageQuery },
  responses: { 200: json(pageOf(operatorKey, 'OperatorKeyPage'), 'Keys, without their secrets.') },
  problems: ['invalid_cursor'],
});

const createOperatorKeyOperation = defineOperation({
  method: 'post',
  path: '/v1/operator-keys',
  operationId: 'createOperatorKey',
  tag,
  summary: 'Create an operator key',
  policy: 'operator',
  idempotent: true,
  request: { body: jsonBody(z.strictObject({ name, role }).openapi('CreateOperatorKey')) },
  responses: { 201: json(createdKey, 'The key, with its secret.') },
});

const revokeOperatorKeyOperation = defineOperation({
  method: 'delete',
  path: '/v1/operator-keys/{key}',
  operationId: 'revokeOperatorKey',
  tag,
  summary: 'Revoke an operator key',
  description:
    'It is refused within 30 s on every replica. The last key with the role `operator` stays. A repeat changes nothing.',
  policy: 'operator',
  request: { params: z.object({ key: idSchema }) },
  responses: { 204: { description: 'It is revoked.' } },
  problems: ['conflict'],
});

export function operatorKeysRoutes(deps: Deps) {
  const router = createRouter();
  router.openapi(listOperatorKeysOperation, async (c) => {
    const page = readPage(c.req.valid('query'));
    const rows = await operatorKeys.listOperatorKeys(deps, c.get('principal'), page);
    return c.json(toPage(rows, page.limit, { item: toKey, cursor: ({ id }) => id }), 200);
  });
  router.openapi(createOperatorKeyOperation, async (c) => {
    const created = await operatorKeys.createOperatorKey(deps, c.get('principal'), c.req.valid('json'));
    return c.json({ ...toKey(created.key), key: created.secret }, 201);
  });
  router.openapi(revokeOperatorKeyOperation, async (c) => {
    await operatorKeys.revokeOperatorKey(deps, c.get('principal'), c.req.valid('param').key);
    return c.body(null, 204);
  });
  return router;
}

function toKey(row: OperatorKeyRow): z.infer<typeof operatorKey> {
  const { id, name, role, createdAt, revokedAt } = row;
  return {
    id,
    name,
    role,
    createdAt: createdAt.toISOString(),
    ...(revokedAt && { revokedAt: revokedAt.toISOString() }),
  };
}
