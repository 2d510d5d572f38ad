import { z } from 'zod';

const unprintable = /[\p{Cc}\p{Cs}]/u;
const text = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .refine((value) => !unprintable.test(value), 'it has control characters or half surrogates');
const line = (maxLength: number) => text(maxLength).min(1);
const digest = z.string().regex(/^sha-256:[0-9a-f]{64}$/, 'sha-256: and 64 hexadecimal digits');
const version = z.int().min(1).max(2_147_483_647);

const source = z
  .strictObject({
    oci: z
      .string()
      .max(500)
      .regex(
        /^(oci:\/\/)?[\w.:[\]-]+\/[a-z0-9._/-]+(:[\w.-]+)?@sha256:[0-9a-f]{64}$/,
        'registry/repository@sha256: and 64 hexadecimal digits',
      )
      .optional(),
    s3: text(1100)
      .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,62}\/\S+$/, 's3://bucket/key')
      .optional(),
    url: text(2000)
      .pipe(z.url({ protocol: /^https?$/ }))
      .optional(),
  })
  .refine((value) => Object.keys(value).length === 1, 'one of oci, s3 and url');

const cohort = z.strictObject({
  name: line(100),
  labels: z
    .record(line(63), z.array(text(128)).min(1).max(100))
    .refine((rules) => Object.keys(rules).length <= 32, 'at most 32 labels')
    .optional(),
  percent: z
    .array(z.number().min(0).max(100))
    .min(1)
    .max(32)
    .refine(
      (steps) => steps.every((share, step) => step === 0 || share >= steps[step - 1]!),
      'never falling: devices that have a version keep it',
    ),
});

const gate = z
  .strictObject({
    metric: line(64),
    atLeast: z.number().optional(),
    atMost: z.number().optional(),
    reports: z.int().min(1).max(1_000_000),
  })
  .refine((value) => (value.atLeast === undefined) !== (value.atMost === undefined), 'atLeast or atMost');

/** `models/<model>.yaml`: which version of a model which devices get. What passes here is sound to the server too. */
export const release = z
  .strictObject({
    model: z.string().regex(/^[a-z0-9-]{1,64}$/, 'lower-case letters, digits and hyphens'),
    version: version.optional(),
    channel: z.literal('head', { error: 'the one channel is head' }).optional(),
    source: source.optional(),
    digest: digest.optional(),
    previous: version.optional(),
    salt: line(200).optional(),
    cohorts: z
      .array(cohort)
      .min(1)
      .max(32)
      .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'two cohorts have one name')
      .optional(),
    gate: gate.optional(),
    bakeSeconds: z.int().min(0).max(31_536_000).optional(),
  })
  .refine(
    (file) => [file.version, file.channel, file.source].filter((what) => what !== undefined).length === 1,
    'exactly one of version, channel and source',
  )
  .refine((file) => (file.channel === undefined) === (file.digest !== undefined), {
    message: 'demanded with version and source, not allowed with channel',
    path: ['digest'],
  })
  .refine((file) => file.previous === undefined || file.previous !== file.version, {
    message: 'it is the version itself',
    path: ['previous'],
  })
  .refine(({ gate, cohorts }) => !gate || !cohorts || cohorts.some(({ percent }) => percent[0]! > 0), {
    message: 'it is never judged: nobody gets the version at the first step',
    path: ['gate'],
  });

export type ReleaseFile = z.infer<typeof release>;
export type Cohort = z.infer<typeof cohort>;
export type Gate = z.infer<typeof gate>;
