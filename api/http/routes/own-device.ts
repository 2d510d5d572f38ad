import { z } from '@hono/zod-openapi';
import type { Deps } from '../../deps.ts';
import * as devices from '../../services/identity/devices.ts';
import { registerDevice } from '../../services/identity/enrollment.ts';
import { rotateKey } from '../../services/identity/key-rotation.ts';
import { createRouter, defineOperation, json, jsonBody } from '../contract/operation.ts';
import { asDevice } from '../principals.ts';
import * as schemas from '../schemas/devices.ts';

const tag = 'Devices';
const device = json(schemas.deviceSchema, 'The device.');

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
        .strictObject({
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
      z.strictObject({ properties: schemas.devicePropertiesPatchSchema }).openapi('UpdateOwnDevice', {
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
        .strictObject({
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

/** What a device does about itself. Goes before the operators' `/v1/devices/{device}`, which `me` would match. */
export function ownDeviceRoutes(deps: Deps) {
  const router = createRouter();
  router.openapi(registerDeviceOperation, async (c) => {
    const { properties = {}, ...input } = c.req.valid('json');
    const { repeated, registeredAt, ...registered } = await registerDevice(deps, { ...input, properties });
    const tokenEndpoint = `${deps.publicUrl}/v1/token`;
    const body = { ...registered, registeredAt: registeredAt.toISOString(), tokenEndpoint };
    return c.json(body, repeated ? 200 : 201);
  });
  router.openapi(getOwnDeviceOperation, async (c) => {
    const principal = c.get('principal');
    return c.json(schemas.toDevice(await devices.getDevice(deps, principal, principal.id)), 200);
  });
  router.openapi(updateOwnDeviceOperation, async (c) => {
    const { properties } = c.req.valid('json');
    return c.json(
      schemas.toDevice(await devices.reportProperties(deps, c.get('principal'), properties)),
      200,
    );
  });
  router.openapi(rotateKeyOperation, async (c) => {
    const { createdAt, ...key } = await rotateKey(deps, asDevice(c.get('principal')), c.req.valid('json'));
    return c.json({ ...key, createdAt: createdAt.toISOString() }, 200);
  });
  return router;
}
