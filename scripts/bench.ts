/**
 * npm run bench: what FedEdge takes, beside what others take on the same machine at the same time.
 *
 *   npm run bench -- NAME [--json] [--quick]
 *
 * NAME: intake fold memory floor waiting downloads rounds; without one, all of them. --json: the last line is one object
 * {bench, machine, rows} (for all, one line each). --quick: tiny sizes, which show that everything runs and measure
 * nothing. Progress goes to standard error. Linux alone, since CPU time and memory are read from /proc.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine } from './bench/machine.ts';
import type { Measure } from './bench/measure.ts';
import { measureDownloads } from './bench/measures/downloads.ts';
import { measureFloor } from './bench/measures/floor.ts';
import { measureFold } from './bench/measures/fold.ts';
import { measureIntake } from './bench/measures/intake.ts';
import { measureMemory } from './bench/measures/memory.ts';
import { measureRounds } from './bench/measures/rounds.ts';
import { measureWaiting } from './bench/measures/waiting.ts';
import { writeJson, writeTable } from './bench/report.ts';

const measures: Record<string, Measure> = {
  intake: measureIntake,
  fold: measureFold,
  memory: measureMemory,
  floor: measureFloor,
  waiting: measureWaiting,
  downloads: measureDownloads,
  rounds: measureRounds,
};

async function run(bench: string, { quick, json }: { quick: boolean; json: boolean }): Promise<void> {
  const machine = describeMachine();
  const folder = mkdtempSync(join(tmpdir(), 'fededge-bench-'));
  // Where we are root, the database runs as a user that has to pass.
  chmodSync(folder, 0o755);
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const began = performance.now();
  const note = (text: string) => {
    const seconds = ((performance.now() - began) / 1000).toFixed(0).padStart(4);
    console.error(`${bench.padEnd(10)}${seconds} s  ${text}`);
  };
  const rows = await measures[bench]!({ quick, folder, note });
  console.log((json ? writeJson : writeTable)({ bench, machine, rows }));
  remove();
  process.off('exit', remove);
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } },
});
const unknown = positionals.filter((name) => !(name in measures));
if (unknown.length > 0) {
  console.error(
    `There is no benchmark ${unknown.join(', ')}. The benchmarks: ${Object.keys(measures).join(' ')}`,
  );
  process.exit(2);
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
for (const name of positionals.length > 0 ? positionals : Object.keys(measures)) await run(name, values);
