import type { Release } from '../generated/types.gen.ts';
import { explainReason } from '../operator/release-reasons.ts';

/** `active`: its version is there, its gate holds, its first cohort gets it. `failed`: it will not be so by itself. */
export type ReleaseVerdict = 'waiting' | 'active' | 'failed';

/**
 * `wasRead`: its content has been the catalog's before. Until then a `superseded` release is an old one that comes back,
 * by a revert, as soon as the server reads the catalog.
 */
export function judgeRelease({ state, version, gate }: Release, wasRead: boolean): ReleaseVerdict {
  if (state === 'complete') return 'active';
  if (state === 'superseded') return wasRead ? 'failed' : 'waiting';
  if (state === 'paused' || state === 'halted') return 'failed';
  return state === 'rolling' && version !== null && (gate === null || gate.holds) ? 'active' : 'waiting';
}

/** A line for people. */
export function describeRelease(release: Release): string {
  const { model, state, version, step, steps, gate } = release;
  const reason = explainReason(release);
  const parts = [
    `${model}: ${state}`,
    version === null ? undefined : `version ${version}`,
    state === 'rolling' ? `step ${step + 1} of ${steps}` : undefined,
    gate
      ? `${gate.metric} ${gate.value ?? 'unknown'} of ${gate.reports} (${gate.reportsNeeded} needed)`
      : undefined,
    reason && `it ${reason}`,
  ];
  return parts.filter((part) => part !== undefined).join(', ');
}
