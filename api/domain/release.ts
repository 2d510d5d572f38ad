import type { Labels } from './device.ts';

/**
 * The life of a release: the decision, held in git, of which version of a model which devices get.
 *
 *                  version there           last step taken
 *   (content) --> waiting --> rolling -----------------------> complete
 *                    |         |   \--gate fails--> paused        |
 *                    |         |                      |           |  (a channel with a newer head: rolling again)
 *                    |---------|---- operator --> halted <--------|
 *
 *   any of them --another content of the model, or none--> superseded --its content again--> where it was
 *
 * `waiting`     the model, the version, its digest or `previous` is not there (yet); `reason` says what
 * `rolling`     at step k: devices of a cohort whose bucket lies below the cohort's percentage k get the version
 * `complete`    the last step's bake time has passed and the gate holds
 * `paused`      the devices' reports failed the gate: devices get `previous`
 * `halted`      by an operator: devices get `previous`
 * `superseded`  another content decides, or no file any more
 *
 * A model has at most one release that is not superseded. A content that comes back is complete, paused or halted at
 * once if it was that before; else it begins again. Every edge is one conditional UPDATE.
 */
export type ReleaseState = 'waiting' | 'rolling' | 'complete' | 'paused' | 'halted' | 'superseded';

/** What a release came to; it is that again when its content comes back. */
export type ReleaseOutcome = 'complete' | 'paused' | 'halted';

/** Buckets are hundredths of a per cent. */
export const BUCKETS = 10_000;

export interface CohortRule {
  name: string;
  /** A device belongs if it has, for each label, one of the values. Empty: everybody. */
  labels: Record<string, readonly string[]>;
  /** At step k the share percent[min(k, last)] of its devices, 0 to 100, never falling. */
  percent: readonly number[];
}

export interface GateRule {
  metric: string;
  atLeast?: number | undefined;
  atMost?: number | undefined;
  /** So many devices have to report before the gate says anything. */
  reports: number;
}

/** Where a version's file can be imported from. Exactly one. */
export interface ReleaseSource {
  oci?: string | undefined;
  s3?: string | undefined;
  url?: string | undefined;
}

/** A release file with its defaults filled in. Exactly one of `version`, `channel` and `source` is there. */
export interface ReleaseDocument {
  model: string;
  version?: number | undefined;
  channel?: 'head' | undefined;
  source?: ReleaseSource | undefined;
  /** SHA-256 of the version's file, hex. Absent for a channel. */
  digest?: string | undefined;
  previous?: number | undefined;
  salt?: string | undefined;
  cohorts: readonly CohortRule[];
  gate?: GateRule | undefined;
  bakeSeconds: number;
}

/** The bucket of a device, from the SHA-256 of `saltOf(...)`, a colon and its id: the first 4 bytes, big endian. */
export function bucketOf(hash: Uint8Array): number {
  return new DataView(hash.buffer, hash.byteOffset, 4).getUint32(0) % BUCKETS;
}

/** What the buckets of a release are drawn by. Without a salt of its own each version has other canaries. */
export function saltOf({ model, salt }: ReleaseDocument, digest: string | null): string {
  return salt ?? `${model}:${digest ?? ''}`;
}

/** The first cohort whose labels a device has. */
export function cohortOf(cohorts: readonly CohortRule[], labels: Labels): CohortRule | undefined {
  return cohorts.find((cohort) =>
    Object.entries(cohort.labels).every(([name, values]) => {
      const value = Object.hasOwn(labels, name) ? labels[name] : undefined;
      return value !== undefined && values.includes(value);
    }),
  );
}

/** How many steps a release has: as many as its longest cohort. */
export function stepsOf(cohorts: readonly CohortRule[]): number {
  return Math.max(1, ...cohorts.map(({ percent }) => percent.length));
}

/** True if the cohort's step takes in a device of that bucket. */
export function isReached({ percent }: CohortRule, step: number, bucket: number): boolean {
  const share = percent[Math.min(step, percent.length - 1)] ?? 0;
  return bucket < Math.round((share * BUCKETS) / 100);
}

/** True if every head is a release that is complete at once: nothing is lost by not waiting for the reconcile. */
export function followsHeadAtOnce({ channel, cohorts, gate, bakeSeconds }: ReleaseDocument): boolean {
  return channel === 'head' && gate === undefined && bakeSeconds === 0 && stepsOf(cohorts) === 1;
}

/** What decides what a device gets. */
export interface ReleaseStand {
  state: ReleaseState;
  step: number;
  version: number | null;
  previous: number | null;
  document: ReleaseDocument;
}

/** The version that a release gives to a device; null: none. Superseded releases are not asked. */
export function versionFor(release: ReleaseStand, device: { labels: Labels; bucket: number }): number | null {
  const { state, step, version, previous, document } = release;
  if (state !== 'rolling' && state !== 'complete') return previous;
  const cohort = cohortOf(document.cohorts, device.labels);
  const reaches = cohort !== undefined && isReached(cohort, step, device.bucket);
  return reaches ? version : previous;
}

/** The version for who is no device: the new one when it is complete, until then the one before. */
export function settledVersion({ state, version, previous }: ReleaseStand): number | null {
  return state === 'complete' ? version : previous;
}
