import type { Release } from '../../typescript/generated/types.gen.ts';
import { explainReason } from '../../typescript/operator/release-reasons.ts';
import { formatBar } from '../terminal/bars.ts';
import { formatDuration } from '../terminal/durations.ts';
import { formatTable } from '../terminal/tables.ts';
import type { Terminal } from '../terminal/terminal.ts';

type Style = Parameters<Terminal['style']>[0];
type Look = Pick<Terminal, 'style' | 'hasColour'>;

const HEADER = ['MODEL', 'VERSION', 'STATE', 'STEP', 'COHORTS', 'GATE', 'SINCE'];
const STYLES: Readonly<Record<Release['state'], Style>> = {
  waiting: 'yellow',
  rolling: 'cyan',
  complete: 'green',
  paused: 'red',
  halted: 'red',
  superseded: 'dim',
};

/** Releases as a table, with a line below for each that says why it does not go on. */
export function formatReleases(releases: readonly Release[], look: Look, now: Date): string[] {
  if (releases.length === 0) return ['no releases: every device gets the head of its model'];
  const header = HEADER.map((name) => look.style('bold', name));
  const reasons = releases.flatMap((release) => {
    const why = explainReason(release);
    return why === undefined ? [] : [`${release.model} ${why}`];
  });
  return [...formatTable([header, ...releases.map((release) => formatRow(release, look, now))]), ...reasons];
}

function formatRow(release: Release, look: Look, now: Date): string[] {
  const { model, state, step, steps, stepSince, activatedAt } = release;
  const seconds = (now.getTime() - Date.parse(stepSince ?? activatedAt)) / 1000;
  return [
    model,
    formatVersion(release),
    look.style(STYLES[state], state),
    `${step + 1}/${steps}`,
    formatCohorts(release),
    formatGate(release, look),
    formatDuration(seconds),
  ];
}

function formatVersion({ version, channel, digest, previous }: Release): string {
  const what = version ?? channel ?? digest?.slice(0, 12) ?? '?';
  return previous === null ? String(what) : `${what} (was ${previous})`;
}

/** What each cohort gets at this step. */
function formatCohorts({ cohorts, step, state }: Release): string {
  if (state === 'paused' || state === 'halted') return 'none: all get the version before';
  return cohorts
    .map(({ name, percent }) => `${name} ${percent[Math.min(step, percent.length - 1)]}%`)
    .join(', ');
}

/** How far the metric is towards its bound: a full bar holds. */
function formatGate({ gate }: Release, { style, hasColour }: Look): string {
  if (!gate) return '-';
  const { metric, atLeast, atMost, value, reports, reportsNeeded, holds } = gate;
  const bound = atLeast === null ? `<= ${atMost}` : `>= ${atLeast}`;
  const heard = `${reports}/${reportsNeeded} reports`;
  if (value === null) return `${metric} ${bound} (${heard})`;
  const share = atLeast === null ? ratio(atMost ?? 0, value) : ratio(value, atLeast);
  const bar = style(holds ? 'green' : 'yellow', formatBar(share, !hasColour));
  return `${metric} ${hasColour ? bar : `[${bar}]`} ${Number(value.toPrecision(4))} ${bound} (${heard})`;
}

function ratio(part: number, whole: number): number {
  return whole > 0 ? part / whole : Number(part >= whole);
}

/** The same in a line of its own: what is told as it happens where nothing can be redrawn. */
export function formatLine(release: Release): string {
  const { model, state, step, steps } = release;
  const reason = explainReason(release);
  const gate = release.gate ? `, ${formatGate(release, { style: (_, text) => text, hasColour: false })}` : '';
  const why = reason === undefined ? '' : `; it ${reason}`;
  return `${model} ${formatVersion(release)}: ${state}, step ${step + 1} of ${steps}${gate}${why}`;
}
