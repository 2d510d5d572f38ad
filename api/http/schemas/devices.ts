import { z } from '@hono/zod-openapi';
import type { DeviceRow } from '../../store/identity/devices.ts';
import { line, trimmedLine } from './text.ts';

export const thumbprintSchema = z
  .string()
  .regex(/^[\w-]{43}$/)
  .openapi({ description: 'RFC 7638, SHA-256.', example: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' });

export const instantSchema = z.iso.datetime().openapi({ example: '2026-01-31T12:00:00.000Z' });
export const idSchema = z.uuid().openapi({ example: '0198c5a2-6d7e-7c3b-9f00-2b7d5a1c9e44' });

const labelPattern = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const MAX_LABELS = 32;

export const labelsSchema = z
  .record(z.string().regex(labelPattern), line(128))
  .refine((labels) => Object.keys(labels).length <= MAX_LABELS, { message: `at most ${MAX_LABELS} labels` })
  .openapi({ maxProperties: MAX_LABELS, example: { site: 'berlin', tier: 'gold' } });

export const deviceNameSchema = trimmedLine(100).openapi({ example: 'gateway-17' });

const word = line(100).min(1);
const properties = {
  memoryMb: z.int().min(0).max(100_000_000).openapi({ example: 2048 }),
  bandwidthKbps: z.int().min(0).max(1_000_000_000).openapi({ example: 20_000 }),
  formats: z
    .array(word)
    .max(32)
    .openapi({ description: 'Encodings and variants that it understands.', example: ['f32', 'int8'] }),
  battery: z.number().min(0).max(1).openapi({ description: 'Charge from 0 to 1.', example: 0.8 }),
  charging: z.boolean().openapi({ example: true }),
  metered: z.boolean().openapi({ example: false }),
  models: z
    .array(word)
    .max(256)
    .openapi({ description: 'Models that it has data for. Absent: all.', example: ['mnist'] }),
  examples: z.int().min(0).max(1_000_000_000_000).openapi({ example: 2400 }),
  software: line(200).openapi({ example: 'fededge-ts/0.1.0' }),
} as const;

export const devicePropertiesSchema = z
  .strictObject(properties)
  .partial()
  .openapi('DeviceProperties', { description: 'What the device reports about itself.' });

export const devicePropertiesPatchSchema = z
  .strictObject(mapNullable(properties))
  .partial()
  .openapi('DevicePropertiesPatch', { description: 'null takes a property away (RFC 7396).' });

/** Only what a JWK of a public key may have: a private one is refused, not stored by mistake. */
export const publicKeySchema = z
  .strictObject({
    kty: z.enum(['EC', 'OKP']),
    crv: z.enum(['P-256', 'Ed25519']),
    x: z.string().max(64),
    y: z.string().max(64).optional(),
    kid: z.string().max(256).optional(),
    alg: z.string().max(32).optional(),
    use: z.string().max(16).optional(),
    key_ops: z.array(z.string().max(16)).max(8).optional(),
    ext: z.boolean().optional(),
  })
  .openapi('DevicePublicKey', {
    description: 'Ed25519 or P-256, as a JWK (RFC 7517). Coordinates in canonical base64url.',
    example: { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' },
  });

export const proofSchema = z.string().min(1).max(4096).openapi({
  description: 'A compact JWS, `typ` `fededge-proof+jwt`, of the last 5 minutes.',
  example: 'eyJhbGciOiJFUzI1NiIsInR5cCI6ImZlZGVkZ2UtcHJvb2Yrand0In0.e30.c2lnbmF0dXJl',
});

export const deviceSchema = z
  .object({
    id: idSchema,
    name: deviceNameSchema,
    state: z.enum(['pending', 'active', 'revoked']),
    labels: labelsSchema,
    properties: devicePropertiesSchema,
    enrollmentToken: idSchema
      .optional()
      .openapi({ description: 'The id of the token that it enrolled with.' }),
    createdAt: instantSchema,
    approvedAt: instantSchema.optional(),
    revokedAt: instantSchema.optional(),
    eraseRequestedAt: instantSchema.optional(),
    erasedAt: instantSchema
      .optional()
      .openapi({ description: 'Its files are gone, and all that describes it.' }),
    lastSeenAt: instantSchema.optional(),
  })
  .openapi('Device');

export const registeredDeviceSchema = z
  .object({
    id: idSchema,
    federation: z.string().max(100).openapi({ example: 'default' }),
    thumbprint: thumbprintSchema,
    state: z.enum(['pending', 'active']).openapi({ description: 'As it was on registration.' }),
    registeredAt: instantSchema,
    tokenEndpoint: z.url().max(2048).openapi({ example: 'https://fededge.example/v1/token' }),
  })
  .openapi('RegisteredDevice');

function mapNullable<P extends Record<string, z.ZodType>>(shape: P): { [K in keyof P]: z.ZodNullable<P[K]> } {
  const entries = Object.entries(shape).map(([name, schema]) => [name, schema.nullable()]);
  return Object.fromEntries(entries) as { [K in keyof P]: z.ZodNullable<P[K]> };
}

/** A device as the API shows it. */
export function toDevice(row: DeviceRow): z.infer<typeof deviceSchema> {
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
    ...(row.eraseRequestedAt && { eraseRequestedAt: row.eraseRequestedAt.toISOString() }),
    ...(row.erasedAt && { erasedAt: row.erasedAt.toISOString() }),
    ...(row.lastSeenAt && { lastSeenAt: row.lastSeenAt.toISOString() }),
  };
}
