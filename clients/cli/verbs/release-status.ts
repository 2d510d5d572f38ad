import { setTimeout as sleep } from 'node:timers/promises';
import type { Catalog, Release } from '../../typescript/generated/types.gen.ts';
import type { Operator } from '../../typescript/operator/operator.ts';
import { connect, type ServerOptions } from '../connection.ts';
import type { Context } from '../context.ts';
import { EXIT_FAILURE, Failure, misuse } from '../failure.ts';
import { formatLine, formatReleases } from '../releases/release-rows.ts';
import { parseDuration } from '../terminal/durations.ts';

export interface StatusOptions extends ServerOptions {
  model?: string;
  /** The version that is waited for: what was there before it decides nothing. */
  version?: number;
  all?: boolean;
  watch?: boolean;
  every: string;
}

interface Standing {
  releases: Release[];
  catalog: Catalog;
}

const FAILED: readonly Release['state'][] = ['paused', 'halted'];

/** Shows what devices get, once or until it is decided. */
export async function showStatus(options: StatusOptions, context: Context): Promise<void> {
  const operator = await connect(options, context);
  const everyMs = readEvery(options);
  let shown = new Map<string, string>();
  for (;;) {
    const standing = await readStanding(operator, options);
    if (!options.watch || context.terminal.canRedraw) draw(standing, options, context);
    else shown = tellChanges(standing, shown, context);
    if (!options.watch || isDecided(standing, options)) return finish(standing, options, context);
    await sleep(everyMs, undefined, { signal: context.signal });
  }
}

function readEvery({ every }: StatusOptions): number {
  const seconds = parseDuration(every);
  if (!seconds) throw misuse(`--every ${every} is no duration`, 'As --every 2s.');
  return seconds * 1000;
}

async function readStanding(operator: Operator, { model, all }: StatusOptions): Promise<Standing> {
  const filter = model === undefined ? {} : { model };
  const [releases, catalog] = await Promise.all([operator.listReleases(filter), operator.getCatalog()]);
  return { releases: releases.filter(({ state }) => all || state !== 'superseded'), catalog };
}

function draw({ releases, catalog }: Standing, { watch }: StatusOptions, { terminal }: Context): void {
  const lines = [...formatReleases(releases, terminal, new Date()), ...describeCatalog(catalog)];
  if (watch) terminal.redraw(lines);
  else for (const line of lines) terminal.say(line);
}

/** What is wrong, and apart from it what goes on by itself; a server of the version before does not tell the latter. */
function describeCatalog({ readAt, faults, waiting = [] }: Catalog): string[] {
  if (readAt === null) return ['this server reads no catalog: set FEDEDGE_CATALOG'];
  return [
    ...faults.map(({ file, message }) => `${file} does not hold and changes nothing: ${message}`),
    ...waiting.map(({ file, message }) => `${file} is in order; its run ${message}`),
  ];
}

/** A line for each release that is not what it was. */
function tellChanges(
  { releases }: Standing,
  shown: Map<string, string>,
  { terminal }: Context,
): Map<string, string> {
  const lines = new Map(releases.map((release) => [release.id, formatLine(release)]));
  for (const [id, line] of lines) if (shown.get(id) !== line) terminal.say(line);
  return lines;
}

/** Watching one model ends when its release is through, or does not go on by itself. */
function isDecided({ releases }: Standing, { model, version }: StatusOptions): boolean {
  const active = releases.find(({ state }) => state !== 'superseded');
  if (version !== undefined && active?.version !== version) return false;
  return (
    model !== undefined &&
    active !== undefined &&
    (active.state === 'complete' || FAILED.includes(active.state))
  );
}

function finish(
  { releases, catalog }: Standing,
  { model, watch }: StatusOptions,
  { host, terminal }: Context,
): void {
  terminal.result({ releases, catalog });
  if (model !== undefined && releases.length === 0 && !watch) {
    throw new Failure(
      `${model} has no release`,
      'Every device gets its head. fededge release create makes one.',
    );
  }
  if (watch && releases.some(({ state }) => FAILED.includes(state))) host.exitCode = EXIT_FAILURE;
}
