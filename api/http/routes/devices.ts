import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import type { Principal } from '../../domain/role.ts';
import * as devices from '../../services/devices.ts';
import { registerDevice } from '../../services/enrollment.ts';
import { rotateKey } from '../../services/key-rotation.ts';
import type { DeviceRow } from '../../store/devices.ts';
import { createRouter, defineOperation, json, jsonBody } from '../operation.ts';
import { pageOf, pageQuery, readPage, toPage } from '../pagination.ts';
import * as schemas from '../schemas/devices.ts';

const tag = 'Devices';
const device = json(schemas.deviceSchema, 'The device.');
const deviceParams = z.object({ device: schemas.idSchema });

const registerDeviceOperation = defineOperation({
  method: 'post',
  path: '/v1/devices',
  operationId: 'registerDevice',
  tag,
  summary: 'Register a device by its key',
  description:
    'The proof is a compact JWS by the key (ES256 or EdDSA), protected header `typ` = `fededge-proof+jwt`, over `aud` (the public URL of the API), `iat`, `jti` (8 to 128 characters) and `eth` (base64url SHA-256 of the enrolment token).\n\nA repeat with the same key and token answers 200 with the body of the first answer and consumes no use of the token, even after it expired: if an answer is lost, send the same request again. A key that was revoked or replaced is refused for ever.',
  policy: 'public',
  request: {
    body: jsonBody(
      z
        .object({
          enrollmentToken: z
            .string()
            .min(1)
            .max(128)
            .openapi({ example: 'fedenr_3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }),
          key: schemas.publicKeySchema,
          name: schemas.deviceNameSchema,
          properties: schemas.devicePropertiesSchema.optional(),
          proof: schemas.proofSchema,
        })
        .openapi('RegisterDevice'),
    ),
  },
  responses: {
    201: json(schemas.registeredDeviceSchema, 'The device is registered.'),
    200: json(schemas.registeredDeviceSchema, 'It was registered before: the first answer again.'),
  },
  problems: [
    'invalid_key',
    'invalid_proof',
    'clock_skew',
    'enrollment_token_invalid',
    'enrollment_token_expired',
    'enrollment_token_used_up',
    'key_refused',
  ],
});

const getOwnDeviceOperation = defineOperation({
  method: 'get',
  path: '/v1/devices/me',
  operationId: 'getOwnDevice',
  tag,
  summary: 'Get the calling device',
  policy: 'device',
  responses: { 200: device },
});

const updateOwnDeviceOperation = defineOperation({
  method: 'patch',
  path: '/v1/devices/me',
  operationId: 'updateOwnDevice',
  tag,
  summary: 'Report properties of the calling device',
  description: 'Merged into what was reported before (RFC 7396): null takes a property away.',
  policy: 'device',
  request: {
    body: jsonBody(
      z.object({ properties: schemas.devicePropertiesPatchSchema }).openapi('UpdateOwnDevice', {
        example: { properties: { battery: 0.4, charging: false } },
      }),
    ),
  },
  responses: { 200: device },
});

const rotateKeyOperation = defineOperation({
  method: 'post',
  path: '/v1/devices/me/key',
  operationId: 'rotateDeviceKey',
  tag,
  summary: 'Give the calling device its next key',
  description:
    'Both proofs are compact JWS, `typ` = `fededge-proof+jwt`, over `aud` (the public URL of the API), `iat`, `jti`, `sub` (the id of the device) and `jkt` (the RFC 7638 thumbprint of the new key): `proof` by the key that the access token is bound to, `possession` by the new key. Both keys work until the new one is first used at `POST /v1/token`; from then on the old one is refused for ever. A repeat changes nothing.',
  policy: 'device',
  request: {
    body: jsonBody(
      z
        .object({
          key: schemas.publicKeySchema,
          proof: schemas.proofSchema,
          possession: schemas.proofSchema,
        })
        .openapi('RotateDeviceKey'),
    ),
  },
  responses: {
    200: json(
      z
        .object({
          thumbprint: schemas.thumbprintSchema,
          state: z.enum(['next', 'active']),
          createdAt: schemas.instantSchema,
        })
        .openapi('RotatedDeviceKey'),
      'The new key.',
    ),
  },
  problems: ['invalid_key', 'invalid_proof', 'clock_skew', 'device_revoked', 'key_refused'],
});

const listDevicesOperation = defineOperation({
  method: 'get',
  path: '/v1/devices',
  operationId: 'listDevices',
  tag,
  summary: 'List devices',
  policy: 'viewer',
  request: {
    query: pageQuery.extend({ state: z.enum(['pending', 'active', 'revoked']).optional() }),
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
        .object({ name: schemas.deviceNameSchema.optional(), labels: schemas.labelsSchema.optional() })
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
  request: { params: deviceParams },
  responses: { 200: device },
});

export function devicesRoutes(deps: Deps) {
  const router = createRouter();
  router.openapi(registerDeviceOperation, async (c) => {
    const { properties = {}, ...input } = c.req.valid('json');
    const { repeated, registeredAt, ...registered } = await registerDevice(deps, { ...input, properties });
    const tokenEndpoint = `${deps.publicUrl}/v1/token`;
    const body = { ...registered, registeredAt: registeredAt.toISOString(), tokenEndpoint };
    return c.json(body, repeated ? 200 : 201);
  });
  router.openapi(getOwnDeviceOperation, async (c) => {
    const { principal } = c.var;
    return c.json(toDevice(await devices.getDevice(deps, principal, principal.id)), 200);
  });
  router.openapi(updateOwnDeviceOperation, async (c) => {
    const { properties } = c.req.valid('json');
    return c.json(toDevice(await devices.reportProperties(deps, c.var.principal, properties)), 200);
  });
  router.openapi(rotateKeyOperation, async (c) => {
    const principal = c.var.principal as Extract<Principal, { kind: 'device' }>;
    const { createdAt, ...key } = await rotateKey(deps, principal, c.req.valid('json'));
    return c.json({ ...key, createdAt: createdAt.toISOString() }, 200);
  });
  router.openapi(listDevicesOperation, async (c) => {
    const query = c.req.valid('query');
    const page = readPage(query);
    const rows = await devices.listDevices(deps, c.var.principal, { state: query.state, page });
    return c.json(toPage(rows, page.limit, { item: toDevice, cursor: ({ id }) => id }), 200);
  });
  router.openapi(getDeviceOperation, async (c) =>
    c.json(toDevice(await devices.getDevice(deps, c.var.principal, c.req.valid('param').device)), 200),
  );
  router.openapi(updateDeviceOperation, async (c) => {
    const change = { ...c.req.valid('json'), id: c.req.valid('param').device };
    return c.json(toDevice(await devices.updateDevice(deps, c.var.principal, change)), 200);
  });
  router.openapi(approveDeviceOperation, async (c) =>
    c.json(toDevice(await devices.approveDevice(deps, c.var.principal, c.req.valid('param').device)), 200),
  );
  router.openapi(revokeDeviceOperation, async (c) =>
    c.json(toDevice(await devices.revokeDevice(deps, c.var.principal, c.req.valid('param').device)), 200),
  );
  return router;
}

function toDevice(row: DeviceRow): z.infer<typeof schemas.deviceSchema> {
  const { id, name, state, labels, properties, enrollmentTokenId } = row;
  return {
    id,
    name,
    state,
    labels,
    properties,
    ...(enrollmentTokenId === null ? {} : { enrollmentToken: enrollmentTokenId }),
    createdAt: row.createdAt.toISOString(),
    ...(row.approvedAt && { approvedAt: row.approvedAt.toISOString() }),
    ...(row.revokedAt && { revokedAt: row.revokedAt.toISOString() }),
    ...(row.lastSeenAt && { lastSeenAt: row.lastSeenAt.toISOString() }),
  };
}
