import { z } from 'zod';

const digest = z.string().regex(/^sha-256:[0-9a-f]{64}$/, 'sha-256: and 64 hexadecimal digits');
const version = z.int().min(1);
const percent = z.array(z.number().min(0).max(100)).min(1).max(20);

const source = z
  .strictObject({
    oci: z
      .string()
      .regex(/^[\w.:/-]+@sha256:[0-9a-f]{64}$/)
      .optional(),
    s3: z.string().startsWith('s3://').optional(),
    url: z.url({ protocol: /^https?$/ }).optional(),
  })
  .refine((value) => Object.keys(value).length === 1, 'one of oci, s3 and url');

const gate = z
  .strictObject({
    metric: z.string().min(1).max(64),
    atLeast: z.number().optional(),
    atMost: z.number().optional(),
    reports: z.int().min(1),
  })
  .refine((value) => (value.atLeast === undefined) !== (value.atMost === undefined), 'atLeast or atMost');

/** `models/<model>.yaml`: which version of a model which devices get. */
export const release = z
  .strictObject({
    model: z.string().regex(/^[a-z0-9-]{1,64}$/),
    version: version.optional(),
    channel: z.literal('head').optional(),
    source: source.optional(),
    digest: digest.optional(),
    previous: version.optional(),
    salt: z.string().min(1).max(200).optional(),
    cohorts: z
      .array(
        z.strictObject({
          name: z.string().min(1).max(63),
          labels: z.record(z.string().max(63), z.array(z.string().max(128)).min(1)).optional(),
          percent,
        }),
      )
      .min(1)
      .max(50)
      .optional(),
    gate: gate.optional(),
    bakeSeconds: z.int().min(0).optional(),
  })
  .refine(
    (file) => [file.version, file.channel, file.source].filter((what) => what !== undefined).length === 1,
    'exactly one of version, channel and source',
  )
  .refine((file) => (file.channel === undefined) === (file.digest !== undefined), {
    message: 'demanded with version and source, not allowed with channel',
    path: ['digest'],
  });
