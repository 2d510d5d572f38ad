import { z } from '@hono/zod-openapi';
import { type Download as DownloadFile, weightsPath } from '../../services/models/paths.ts';
import type { NamedVersion } from '../../services/models/versions.ts';

export const modelName = z
  .string()
  .regex(/^[a-z0-9-]{1,64}$/)
  .openapi({ description: "A model's name: lower-case letters, digits and hyphens.", example: 'mnist-cnn' });

export const versionNumber = z.coerce
  .number()
  .int()
  .min(1)
  .max(2_147_483_647)
  .openapi({ description: 'The number of a version: 1, 2, 3 ...', example: 3 });

export const sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .openapi({
    description: 'SHA-256 in hexadecimal.',
    example: '3f0a377ba0a4a460ecb616f6507ce0d8cfa3e704025d4fda3ed0c5ca05468728',
  });

const fileBytes = z.int().min(1).max(Number.MAX_SAFE_INTEGER);

/** A raw safetensors body. */
export const tensorBody = {
  required: true,
  content: { 'application/octet-stream': { schema: z.string().openapi({ format: 'binary' }) } },
};

/** The headers that a raw body needs; `body.ts` reads them, since a browser's type system never sees these bytes. */
export const declaredHeaders = z.object({
  'Content-Digest': z.string().max(1024).optional().openapi({
    description: 'The SHA-256 of the body (RFC 9530). Required.',
    example: 'sha-256=:PwozjekpJGDsthb2UHzg2M+j5wQCXU/aPtDFygVGhyg=:',
  }),
});

const Download = z
  .object({
    role: z.literal('weights'),
    url: z.string().max(300).openapi({
      description: 'Below the URL of the API: append it.',
      example: '/v1/models/mnist-cnn/versions/3/weights?variant=f32',
    }),
    digest: sha256,
    bytes: fileBytes.openapi({ example: 407_952 }),
  })
  .openapi('Download');

const metrics = z.record(z.string().max(64), z.number()).openapi({ example: { loss: 0.21, accuracy: 0.94 } });

export const ModelVersion = z
  .object({
    model: modelName,
    version: z.int().min(1),
    parent: z.int().min(1).nullable().openapi({ description: 'The version that it was made from.' }),
    round: z
      .uuid()
      .nullable()
      .openapi({ description: 'The round that published it; null for uploaded weights.' }),
    digest: sha256,
    bytes: fileBytes,
    metrics: metrics.openapi({
      description: 'What the updates of its round reported, averaged by examples.',
    }),
    score: metrics.nullable().openapi({ description: 'What the server measured on the evaluation set.' }),
    deviceScore: metrics
      .nullable()
      .openapi({ description: 'What the last evaluate round measured on devices.' }),
    downloads: z.array(Download).max(16),
    createdAt: z.iso.datetime(),
  })
  .openapi('ModelVersion');

export function toModelVersion(row: NamedVersion): z.infer<typeof ModelVersion> {
  const { model, version, parent, roundId, digest, bytes, metrics, score, deviceScore, createdAt } = row;
  const weights: DownloadFile = { role: 'weights', url: weightsPath(model, version), digest, bytes };
  return {
    model,
    version,
    parent,
    round: roundId,
    digest,
    bytes,
    metrics,
    score,
    deviceScore,
    downloads: [weights],
    createdAt: createdAt.toISOString(),
  };
}
