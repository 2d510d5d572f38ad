import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import * as devices from '../../services/identity/devices.ts';
import { eraseDevice } from '../../services/identity/erasures.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { pageOf, pageQuery, readPage, toPage } from '../contract/pagination.ts';
import * as schemas from '../schemas/devices.ts';

const tag = 'Devices';
const device = json(schemas.deviceSchema, 'The device.');
const deviceParams = z.object({ device: schemas.idSchema });

const listDevicesOperation = defineOperation({
  method: 'get',
  path: '/v1/devices',
  operationId: 'listDevices',
  tag,
  summary: 'List devices',
  policy: 'viewer',
  request: {
    query: pageQuery.extend({
      state: z
        .enum(['pending', 'active', 'revoked'])
        .optional()
        .openapi({ description: 'Only devices in this state.', example: 'pending' }),
    }),
  },
  responses: { 200: json(pageOf(schemas.deviceSchema, 'DevicePage'), 'Devices as they registered.') },
  problems: ['invalid_cursor'],
});

const getDeviceOperation = defineOperation({
  method: 'get',
  path: '/v1/devices/{device}',
  operationId: 'getDevice',
  tag,
  summary: 'Get a device',
  policy: 'viewer',
  request: { params: deviceParams },
  responses: { 200: device },
});

const updateDeviceOperation = defineOperation({
  method: 'patch',
  path: '/v1/devices/{device}',
  operationId: 'updateDevice',
  tag,
  summary: 'Name or label a device',
  description: '`labels` replaces the whole set of labels.',
  policy: 'operator',
  request: {
    params: deviceParams,
    body: jsonBody(
      z
        .strictObject({ name: schemas.deviceNameSchema.optional(), labels: schemas.labelsSchema.optional() })
        .openapi('UpdateDevice'),
    ),
  },
  responses: { 200: device },
});

const approveDeviceOperation = defineOperation({
  method: 'post',
  path: '/v1/devices/{device}/approve',
  operationId: 'approveDevice',
  tag,
  summary: 'Let a pending device take part',
  policy: 'operator',
  idempotent: true,
  request: { params: deviceParams },
  responses: { 200: device },
  problems: ['conflict'],
});

const revokeDeviceOperation = defineOperation({
  method: 'post',
  path: '/v1/devices/{device}/revoke',
  operationId: 'revokeDevice',
  tag,
  summary: 'End a device for ever',
  description:
    'Its keys are refused for ever, its access tokens within 30 s on every replica. Its open assignments expire; its accepted updates stay.',
  policy: 'operator',
  idempotent: true,
  request: { params: deviceParams },
  responses: { 200: device },
});

const eraseDeviceOperation = defineOperation({
  method: 'delete',
  path: '/v1/devices/{device}',
  operationId: 'eraseDevice',
  tag,
  summary: 'Erase a device',
  description:
    'Revokes it at once. As soon as the rounds that it has a part in are over, its files, name, labels, properties and ' +
    'public keys are deleted, and `erasedAt` is set. What stays is a pseudonym: its id, the thumbprints of its keys ' +
    '(refused for ever), and which updates were folded. A repeat changes nothing. Versions that its updates are part of stay.',
  policy: 'operator',
  request: { params: deviceParams },
  responses: { 202: json(schemas.deviceSchema, 'It is or will be erased.') },
});

export function devicesRoutes(deps: Deps) {
  const router = createRouter();
  router.openapi(listDevicesOperation, async (c) => {
    const query = c.req.valid('query');
    const page = readPage(query);
    const rows = await devices.listDevices(deps, c.get('principal'), { state: query.state, page });
    return c.json(toPage(rows, page.limit, { item: schemas.toDevice, cursor: ({ id }) => id }), 200);
  });
  router.openapi(getDeviceOperation, async (c) =>
    c.json(
      schemas.toDevice(await devices.getDevice(deps, c.get('principal'), c.req.valid('param').device)),
      200,
    ),
  );
  router.openapi(updateDeviceOperation, async (c) => {
    const change = { ...c.req.valid('json'), id: c.req.valid('param').device };
    return c.json(schemas.toDevice(await devices.updateDevice(deps, c.get('principal'), change)), 200);
  });
  router.openapi(approveDeviceOperation, async (c) =>
    c.json(
      schemas.toDevice(await devices.approveDevice(deps, c.get('principal'), c.req.valid('param').device)),
      200,
    ),
  );
  router.openapi(revokeDeviceOperation, async (c) =>
    c.json(
      schemas.toDevice(await devices.revokeDevice(deps, c.get('principal'), c.req.valid('param').device)),
      200,
    ),
  );
  router.openapi(eraseDeviceOperation, async (c) =>
    c.json(schemas.toDevice(await eraseDevice(deps, c.get('principal'), c.req.valid('param').device)), 202),
  );
  return router;
}
