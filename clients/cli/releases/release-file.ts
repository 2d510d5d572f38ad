import { parseDocument } from 'yaml';
import type { z } from 'zod';
import { type ReleaseFile, release } from '../../../infra/catalog/release-file.ts';

export type { Cohort, Gate, ReleaseFile } from '../../../infra/catalog/release-file.ts';

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
  const { success, data, error } = release.safeParse(value);
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
