import { parseDocument } from 'yaml';
import { z } from 'zod';

/**
 * `models/<model>.yaml`: which version of a model which devices get. The server says the last word; this says the same
 * before anything is committed.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u;
const text = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .refine((value) => !UNPRINTABLE.test(value), 'it has control characters or half surrogates');
const line = (maxLength: number) => text(maxLength).min(1);
const version = z.int().min(1).max(2_147_483_647);

const cohort = z.strictObject({
  name: line(100),
  labels: z
    .record(line(63), z.array(text(128)).min(1).max(100))
    .refine((labels) => Object.keys(labels).length <= 32, 'at most 32 labels')
    .optional(),
  percent: z
    .array(z.number().min(0).max(100))
    .min(1)
    .max(32)
    .refine((steps) => steps.every((share, step) => step === 0 || share >= steps[step - 1]!), {
      message: 'a step may not take devices away again',
    }),
});

const source = z
  .strictObject({
    oci: z
      .string()
      .max(500)
      .regex(
        /^(oci:\/\/)?[\w.:[\]-]+\/[a-z0-9._/-]+(:[\w.-]+)?@sha256:[0-9a-f]{64}$/,
        'as registry/repository@sha256: and 64 hexadecimal digits',
      )
      .optional(),
    s3: text(1100)
      .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,62}\/\S+$/, 'as s3://bucket/key')
      .optional(),
    url: text(2000)
      .pipe(z.url({ protocol: /^https?$/ }))
      .optional(),
  })
  .refine((given) => Object.keys(given).length === 1, 'one of oci, s3 and url');

const gate = z
  .strictObject({
    metric: line(64),
    atLeast: z.number().optional(),
    atMost: z.number().optional(),
    reports: z.int().min(1).max(1_000_000),
  })
  .refine(
    ({ atLeast, atMost }) => (atLeast === undefined) !== (atMost === undefined),
    'one of atLeast and atMost',
  );

const schema = z
  .strictObject({
    model: z.string().regex(/^[a-z0-9-]{1,64}$/, 'lower-case letters, digits and hyphens'),
    version: version.optional(),
    channel: z.literal('head', { error: 'the one channel is head' }).optional(),
    source: source.optional(),
    digest: z
      .string()
      .regex(/^sha-256:[0-9a-f]{64}$/, 'sha-256: and 64 hexadecimal digits')
      .optional(),
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
    (file) => [file.version, file.channel, file.source].filter((one) => one !== undefined).length === 1,
    {
      message: 'exactly one of version, channel and source',
    },
  )
  .refine((file) => (file.channel === undefined) === (file.digest !== undefined), {
    path: ['digest'],
    message: 'demanded with version and source, not allowed with channel',
  })
  .refine(({ previous, version }) => previous === undefined || previous !== version, {
    path: ['previous'],
    message: 'it is the version itself',
  })
  .refine(({ gate, cohorts }) => !gate || !cohorts || cohorts.some(({ percent }) => percent[0]! > 0), {
    path: ['gate'],
    message: 'it is never judged: nobody gets the version at the first step',
  });

export type ReleaseFile = z.infer<typeof schema>;
export type Cohort = z.infer<typeof cohort>;
export type Gate = z.infer<typeof gate>;

export interface Fault {
  /** As `cohorts.0.percent`; empty for the document as a whole. */
  key: string;
  message: string;
}

export type Reading = { ok: true; release: ReleaseFile } | { ok: false; faults: Fault[] };

/** Reads a release file's text. Unknown keys are faults. */
export function readRelease(text: string): Reading {
  const document = parseDocument(text, { uniqueKeys: true, merge: false });
  const [broken] = [...document.errors, ...document.warnings];
  if (broken) return { ok: false, faults: [{ key: '', message: broken.message.split('\n')[0]! }] };
  const value: unknown = document.toJS({ maxAliasCount: 0 });
  const whole = (message: string): Reading => ({ ok: false, faults: [{ key: '', message }] });
  // Schemas pass over it, and labels without it mean everybody.
  if (JSON.stringify(value)?.includes('"__proto__":')) return whole('there is no key __proto__');
  const { success, data, error } = schema.safeParse(value);
  if (success && !text.endsWith('\n')) return whole('it does not end with a line break: it may be cut short');
  if (success) return { ok: true, release: data };
  return { ok: false, faults: error.issues.map(toFault) };
}

function toFault(issue: z.core.$ZodIssue): Fault {
  return { key: issue.path.join('.'), message: tell(issue) };
}

function tell(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return `there is no key ${issue.keys.join(', ')}`;
  const isMissing = issue.code === 'invalid_type' && issue.message.endsWith('received undefined');
  return isMissing ? 'it is missing' : issue.message;
}

export function describeFaults(file: string, faults: readonly Fault[]): string {
  return faults.map(({ key, message }) => `${file}: ${key === '' ? '' : `${key}: `}${message}`).join('\n');
}

/** What it hands out, in a few words: `mnist 7`, `mnist head`. */
export function nameTarget({ model, version, channel, digest }: ReleaseFile): string {
  return `${model} ${version ?? channel ?? digest!.slice(0, 'sha-256:'.length + 12)}`;
}

/** True if both give the same version to devices, whatever the way there. */
export function hasSameTarget(a: ReleaseFile, b: ReleaseFile): boolean {
  return a.model === b.model && a.channel === b.channel && a.digest === b.digest;
}
