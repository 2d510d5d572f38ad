import { misuse } from '../failure.ts';
import { parseDuration } from '../terminal/durations.ts';
import type { Cohort, Gate } from './release-file.ts';

/** `accuracy>=0.9` or `loss<=0.3`. */
export function parseGate(text: string, reports: number): Gate {
  const [, metric, sign, bound] = /^([^<>=\s]{1,64})(>=|<=)(-?\d+(?:\.\d+)?(?:e-?\d+)?)$/i.exec(text) ?? [];
  if (metric === undefined || bound === undefined) {
    throw misuse(`--gate ${text} is no gate`, "As --gate 'accuracy>=0.9' or --gate 'loss<=0.3'.");
  }
  return { metric, ...(sign === '>=' ? { atLeast: Number(bound) } : { atMost: Number(bound) }), reports };
}

/** `5,25,100`: the share of devices at each step, never falling. */
export function parsePercent(text: string): number[] {
  const steps = text
    .split(',')
    .map((part) => (/^\d{1,3}(\.\d{1,2})?$/.test(part.trim()) ? Number(part) : Number.NaN));
  const isSound = steps.every((share, step) => share >= (steps[step - 1] ?? 0) && share <= 100);
  if (!isSound)
    throw misuse(
      `--percent ${text} is no list of steps`,
      'Shares from 0 to 100 that do not fall: --percent 5,25,100.',
    );
  return steps;
}

/** `site=lab`, several times: every named label must have one of its values. */
export function parseLabels(texts: readonly string[]): Record<string, string[]> {
  const labels: Record<string, string[]> = {};
  for (const text of texts) {
    const [, name, value] = /^([^=]+)=(.*)$/.exec(text) ?? [];
    if (name === undefined || value === undefined)
      throw misuse(`--canary ${text} is no label`, 'As --canary site=lab.');
    const values = labels[name] ?? [];
    labels[name] = [...values, value];
  }
  return labels;
}

/**
 * The cohorts that the options describe; undefined: they describe none. Canaries get all of it at the first step, and
 * everybody else waits for the second one, unless --percent says otherwise.
 */
export function planCohorts(
  canary: readonly string[] | undefined,
  percent: string | undefined,
): Cohort[] | undefined {
  if (!canary && percent === undefined) return undefined;
  const everyone = { name: 'everyone', percent: percent === undefined ? [0, 100] : parsePercent(percent) };
  if (!canary) return [everyone];
  return [{ name: 'canary', labels: parseLabels(canary), percent: [100] }, everyone];
}

export function parseBake(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === undefined) throw misuse(`--bake ${text} is no duration`, 'As --bake 10m, 90s or 1h30m.');
  return seconds;
}
