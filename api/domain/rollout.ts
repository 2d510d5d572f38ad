import type { GateRule, ReleaseStand } from './release.ts';
import { stepsOf } from './release.ts';

/** What a device measured of a released version. */
export interface Measured {
  value: number;
  numExamples: number;
}

/** `open`: too few devices have reported. */
export interface GateVerdict {
  verdict: 'open' | 'holds' | 'fails';
  /** The mean over the devices' reports, weighted by their examples; null without any. */
  value: number | null;
  reports: number;
}

/** Holds the devices' reports of a version, one a device, against the gate. */
export function judgeGate(gate: GateRule, measured: readonly Measured[]): GateVerdict {
  const reports = measured.length;
  if (reports === 0) return { verdict: 'open', value: null, reports };
  const examples = measured.reduce((sum, { numExamples }) => sum + numExamples, 0);
  // Shares are taken before the sum: a sum of sound values could overflow.
  const value = measured.reduce((sum, one) => sum + one.value * (one.numExamples / examples), 0);
  if (reports < gate.reports) return { verdict: 'open', value, reports };
  const holds = value >= (gate.atLeast ?? -Infinity) && value <= (gate.atMost ?? Infinity);
  return { verdict: holds ? 'holds' : 'fails', value, reports };
}

/** The version that a release is after, or why it cannot be had (yet). */
export type Target =
  | { found: true; version: number; digest: string }
  | { found: false; reason: WaitReason; detail?: string | undefined };

export type WaitReason = 'no_model' | 'no_version' | 'digest_differs' | 'no_previous' | 'importing';

/** What happens next to a release that is active. */
export type Move =
  | { kind: 'wait'; reason: string }
  | { kind: 'roll'; version: number; digest: string }
  | { kind: 'step'; step: number }
  | { kind: 'complete' }
  | { kind: 'pause'; reason: string };

export interface Facts {
  target: Target;
  /** Undefined: the release has no gate. */
  gate: GateVerdict | undefined;
  now: Date;
}

export interface Progress extends ReleaseStand {
  reason: string | null;
  stepSince: Date | null;
}

/** The next move of a release, or undefined while nothing is to be done. Repeat it until then. */
export function nextMove(release: Progress, { target, gate, now }: Facts): Move | undefined {
  if (release.state === 'waiting') return leaveWaiting(release, target);
  if (release.state === 'complete') return followChannel(release, target);
  if (release.state !== 'rolling') return undefined;
  if (gate?.verdict === 'fails') return { kind: 'pause', reason: gateReason(release, gate) };
  const bakedAt = (release.stepSince?.getTime() ?? 0) + release.document.bakeSeconds * 1000;
  if (now.getTime() < bakedAt || gate?.verdict === 'open') return undefined;
  const next = release.step + 1;
  return next < stepsOf(release.document.cohorts) ? { kind: 'step', step: next } : { kind: 'complete' };
}

function leaveWaiting({ reason }: Progress, target: Target): Move | undefined {
  if (target.found) return { kind: 'roll', version: target.version, digest: target.digest };
  const why = target.detail === undefined ? target.reason : `${target.reason}: ${target.detail}`;
  // An import that failed is tried again without a word.
  const isKnown = why === reason || (why === 'importing' && reason?.startsWith('import_failed'));
  return isKnown ? undefined : { kind: 'wait', reason: why };
}

/** A channel takes the newest head when the version before is through; those between are left out. */
function followChannel({ document, version }: Progress, target: Target): Move | undefined {
  if (document.channel === undefined || !target.found || target.version === version) return undefined;
  return { kind: 'roll', version: target.version, digest: target.digest };
}

function gateReason({ document: { gate } }: Progress, { value, reports }: GateVerdict): string {
  const bound =
    value !== null && value < (gate?.atLeast ?? -Infinity)
      ? `below ${gate?.atLeast}`
      : `above ${gate?.atMost}`;
  const shown = Number(value?.toPrecision(6));
  return `gate_failed: ${gate?.metric} ${shown} is ${bound}, over ${reports} ${reports === 1 ? 'report' : 'reports'}`;
}
