/**
 * npm test: everything that has to hold. A stage that fails does not stop the others; the last line counts.
 *
 *   npm test -- --only lint,types       these stages alone
 *   npm test -- test/domain -t quorum   vitest alone, with these filters and options
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Counts } from './test/count-reporter.ts';
import { runStage } from './test/run-stage.ts';
import { planStages, type Stage } from './test/stages.ts';

const NAME_WIDTH = 12;
const began = performance.now();
const temporary = mkdtempSync(join(tmpdir(), 'fededge-counts-'));
const countsFile = join(temporary, 'counts.json');
const repeated: string[] = [];
const total: Counts = { passed: 0, failed: 0, skipped: [] };

function readArguments(args: readonly string[]): { only: string[] | undefined; vitestArgs: string[] } {
  const at = args.indexOf('--only');
  if (at < 0) return { only: args.length > 0 ? ['vitest'] : undefined, vitestArgs: [...args] };
  return { only: (args[at + 1] ?? '').split(','), vitestArgs: args.toSpliced(at, 2) };
}

async function run(stage: Stage): Promise<void> {
  report(stage, 'started');
  const attempt = () => runStage(stage, { FEDEDGE_TEST_COUNTS: countsFile });
  let result = await attempt();
  if (!result.ok && stage.repeats) {
    report(stage, 'failed, and is tried again');
    repeated.push(stage.name);
    rmSync(countsFile, { force: true });
    result = await attempt();
  }
  const { ok, seconds, output } = result;
  if (!ok && output) process.stdout.write(output);
  const isSkipped = !ok && stage.optional;
  report(stage, `${ok ? 'passed' : isSkipped ? 'skipped' : 'FAILED'}  ${seconds.toFixed(1)} s`);
  if (stage.counts) addTests(ok);
  else if (isSkipped) total.skipped.push(`${stage.name} (${output.trimEnd().split('\n').at(-1)})`);
  else total[ok ? 'passed' : 'failed'] += 1;
}

function report({ name }: Stage, what: string): void {
  console.log(`${name.padEnd(NAME_WIDTH)}${what}`);
}

/** A run that failed without a test that failed (a crash, no test found) counts as one failure. */
function addTests(ok: boolean): void {
  const { passed, failed, skipped, repeated: again = [] } = readCounts();
  total.passed += passed;
  total.failed += ok ? failed : Math.max(failed, 1);
  total.skipped.push(...skipped);
  repeated.push(...again);
}

function readCounts(): Counts {
  try {
    return JSON.parse(readFileSync(countsFile, 'utf8')) as Counts;
  } catch {
    return { passed: 0, failed: 1, skipped: [] };
  } finally {
    rmSync(countsFile, { force: true });
  }
}

const { only, vitestArgs } = readArguments(process.argv.slice(2));
const lanes = planStages(vitestArgs);
const names = lanes.flat().map(({ name }) => name);
const unknown = only?.filter((name) => !names.includes(name)) ?? [];
if (unknown.length > 0) {
  console.error(`There is no stage ${unknown.join(', ')}. The stages: ${names.join(', ')}`);
  process.exit(2);
}

await Promise.all(
  lanes.map(async (lane) => {
    for (const stage of lane) if (!only || only.includes(stage.name)) await run(stage);
  }),
);
rmSync(temporary, { recursive: true, force: true });
for (const name of total.skipped) console.log(`skipped     ${name}`);
for (const name of repeated) console.log(`repeated    ${name} (failed at first, and was tried again)`);
const minutes = ((performance.now() - began) / 60_000).toFixed(1);
console.log(`all of it took ${minutes} min`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped.length} skipped`);
process.exitCode = total.failed > 0 ? 1 : 0;
