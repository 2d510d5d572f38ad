import { z } from 'zod';
import type { ReleaseDocument } from '../../../domain/release.ts';
import type { FileReading } from './catalog-files.ts';

const YEAR_SECONDS = 31_536_000;
const MAX_COHORTS = 32;
const MAX_STEPS = 32;
const MAX_LABELS = 32;

const unprintable = /[\p{Cc}\p{Cs}]/u;
const text = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .refine((value) => !unprintable.test(value), 'has control characters or half surrogates');
const line = (maxLength: number) => text(maxLength).min(1);
const digest = z
  .string()
  .regex(/^sha-256:[0-9a-f]{64}$/, 'has to be sha-256: and 64 hexadecimal digits')
  .transform((value) => value.slice('sha-256:'.length));
const version = z.int().min(1).max(2_147_483_647);

const source = z
  .strictObject({
    oci: z
      .string()
      .max(500)
      .regex(/^(oci:\/\/)?[\w.:[\]-]+\/[a-z0-9._/-]+(:[\w.-]+)?@sha256:[0-9a-f]{64}$/, {
        error: 'has to be REGISTRY/REPOSITORY@sha256:DIGEST',
      })
      .optional(),
    s3: text(1100)
      .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,62}\/\S+$/, 'has to be s3://BUCKET/KEY')
      .optional(),
    url: text(2000)
      .pipe(z.url({ protocol: /^https?$/ }))
      .optional(),
  })
  .refine((sources) => Object.keys(sources).length === 1, 'has to be one of oci, s3 and url');

const labels = z
  .record(line(63), z.array(text(128)).min(1).max(100))
  .refine((rules) => Object.keys(rules).length <= MAX_LABELS, `has more than ${MAX_LABELS} labels`);

const cohort = z.strictObject({
  name: line(100),
  labels: labels.default({}),
  percent: z
    .array(z.number().min(0).max(100))
    .min(1)
    .max(MAX_STEPS)
    .refine(
      (steps) => steps.every((share, k) => k === 0 || share >= steps[k - 1]!),
      'falls: devices that have a version keep it',
    ),
});

const gate = z
  .strictObject({
    metric: line(64),
    atLeast: z.number().optional(),
    atMost: z.number().optional(),
    reports: z.int().min(1).max(1_000_000),
  })
  .refine(
    ({ atLeast, atMost }) => (atLeast === undefined) !== (atMost === undefined),
    'has to have one of atLeast and atMost',
  );

const everybody = [{ name: 'everyone', labels: {}, percent: [100] }];

const release = z
  .strictObject({
    model: z.string().regex(/^[a-z0-9-]{1,64}$/, 'has to be lower-case letters, digits and hyphens'),
    version: version.optional(),
    channel: z.literal('head').optional(),
    source: source.optional(),
    digest: digest.optional(),
    previous: version.optional(),
    salt: line(200).optional(),
    cohorts: z
      .array(cohort)
      .min(1)
      .max(MAX_COHORTS)
      .refine((list) => new Set(list.map(({ name }) => name)).size === list.length, 'have a name twice')
      .default(everybody),
    gate: gate.optional(),
    bakeSeconds: z.int().min(0).max(YEAR_SECONDS).default(0),
  })
  .refine(
    (file) => [file.version, file.channel, file.source].filter((target) => target !== undefined).length === 1,
    'has to have exactly one of version, channel and source',
  )
  .refine((file) => (file.channel === undefined) === (file.digest !== undefined), {
    message: 'is demanded with version and source, and not allowed with channel',
    path: ['digest'],
  })
  .refine((file) => file.previous === undefined || file.previous !== file.version, {
    message: 'is the version itself',
    path: ['previous'],
  })
  .refine(({ gate, cohorts }) => gate === undefined || cohorts.some(({ percent }) => percent[0]! > 0), {
    message: 'can never be judged: nobody gets the version at the first step',
    path: ['gate'],
  });

/** Reads a release file's document strictly: every fault is told, unknown keys are faults. */
export function readReleaseFile(document: unknown): FileReading<ReleaseDocument> {
  const { success, data, error } = release.safeParse(document);
  return success ? { ok: true, value: data } : { ok: false, message: tellFaults(error) };
}

/** The faults of a document in one line, each with its place. */
function tellFaults({ issues }: z.ZodError): string {
  return issues
    .slice(0, 10)
    .map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
    .join('; ');
}
