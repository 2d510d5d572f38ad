import { parseDocument } from 'yaml';
import { z } from 'zod';

/**
 * `models/<model>.yaml`: which version of a model which devices get. The server says the last word; this says the same
 * before anything is committed.
 */
const labelName = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const version = z.int().min(1);
const percent = z
  .array(z.number().min(0).max(100))
  .min(1)
  .max(32)
  .refine((steps) => steps.every((share, step) => step === 0 || share >= steps[step - 1]!), {
    message: 'a step may not take devices away again',
  });

const cohort = z.strictObject({
  name: z.string().min(1).max(100),
  labels: z.record(z.string().regex(labelName), z.array(z.string().max(128)).min(1).max(100)).optional(),
  percent,
});

const source = z
  .strictObject({
    oci: z
      .string()
      .max(500)
      .regex(/^[\w.:/-]+@sha256:[0-9a-f]{64}$/, 'registry/repository@sha256: and 64 hexadecimal digits')
      .optional(),
    s3: z
      .string()
      .max(1100)
      .regex(/^s3:\/\/[^/]+\/.+$/, 's3://bucket/key')
      .optional(),
    url: z
      .url({ protocol: /^https?$/ })
      .max(2000)
      .optional(),
  })
  .refine(
    (given) => Object.values(given).filter((value) => value !== undefined).length === 1,
    'one of oci, s3 and url',
  );

const gate = z
  .strictObject({
    metric: z.string().min(1).max(64),
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
    model: z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, 'lower-case letters, digits and hyphens'),
    version: version.optional(),
    channel: z.literal('head', { error: 'the one channel is head' }).optional(),
    source: source.optional(),
    digest: z
      .string()
      .regex(/^sha-256:[0-9a-f]{64}$/, 'sha-256: and 64 hexadecimal digits')
      .optional(),
    previous: version.optional(),
    salt: z.string().min(1).max(200).optional(),
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
  const { success, data, error } = schema.safeParse(document.toJS({ maxAliasCount: 0 }));
  if (success) return { ok: true, release: data };
  return { ok: false, faults: error.issues.map(toFault) };
}

function toFault({ path, message, ...issue }: z.core.$ZodIssue): Fault {
  const unknown = 'keys' in issue ? (issue.keys as string[]) : [];
  return {
    key: path.join('.'),
    message: unknown.length > 0 ? `there is no key ${unknown.join(', ')}` : message,
  };
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
