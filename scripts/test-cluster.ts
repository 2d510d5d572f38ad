/**
 * npm run test:cluster: FedEdge on a real Kubernetes with a real Argo CD. It takes the cluster of KUBECONFIG, or brings up
 * one of its own (Linux, root, Go; the first time it builds that, 12 to 25 minutes).
 *
 *   --build      only builds
 *   --json       a line of JSON for each step, and one for all
 *   --keep       leaves everything standing after the last step until Ctrl-C
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { buildPrograms, NoClusterError, openCluster } from '../test/cluster/clusters.ts';
import { diagnose } from '../test/cluster/diagnosis.ts';
import { createScene } from '../test/cluster/scene.ts';
import { claimStateFolder } from '../test/cluster/state-folder.ts';
import { runSteps, type StepResult } from '../test/cluster/step-runner.ts';
import { steps } from '../test/cluster/steps.ts';

const { values } = parseArgs({
  options: {
    build: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const began = performance.now();
const stopping = new AbortController();
const { signal } = stopping;
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.on(name, () => stopping.abort(new Error('stopped')));

const endings: (() => Promise<unknown>)[] = [];
const say = (line: string) => (values.json ? console.error(line) : console.log(line));

try {
  if (values.build) await buildPrograms({ signal, say });
  else finish(await testOnCluster());
} catch (error) {
  if (!(error instanceof NoClusterError)) throw error;
  if (values.build) fail(error.message);
  else skip(error.message);
} finally {
  for (const work of endings.reverse())
    await work().catch((error: Error) => say(`cluster: ${error.message}`));
}

async function testOnCluster(): Promise<StepResult[]> {
  const state = await claimStateFolder();
  if ('heldBy' in state) throw new NoClusterError(`another run (process ${state.heldBy}) is under way`);
  endings.push(state.clear);
  const cluster = await openCluster({ state: state.path, signal, say });
  endings.push(cluster.clear);
  const { kubectl } = cluster;
  const scene = createScene({
    state: state.path,
    cluster,
    signal,
    say,
    atEnd: (work) => void endings.push(work),
  });
  say(`cluster: up after ${seconds()} s; logs in ${state.path}/log`);
  const results = await runSteps({ steps, scene, signal, report, diagnose: () => diagnose(kubectl, say) });
  if (values.keep && !signal.aborted) await untilStopped(cluster.kubeconfig);
  return results;
}

async function untilStopped(kubeconfig: string): Promise<void> {
  say(`cluster: KUBECONFIG=${kubeconfig} stays until Ctrl-C`);
  while (!signal.aborted) await sleep(1_000, undefined, { signal }).catch(() => undefined);
}

function report(result: StepResult): void {
  if (values.json) console.log(JSON.stringify(result));
  else {
    const { step, outcome, seconds, detail } = result;
    console.log(
      `${outcome.padEnd(8)} ${seconds.toFixed(1).padStart(6)} s  ${step}${detail && `: ${detail}`}`,
    );
  }
}

function finish(results: readonly StepResult[]): void {
  const of = (outcome: StepResult['outcome']) => results.filter((one) => one.outcome === outcome);
  const [passed, failed, notRun] = [of('passed').length, of('failed').length, of('not run')];
  const summary = { passed, steps: results.length, seconds: seconds() };
  if (values.json) console.log(JSON.stringify(summary));
  else console.log(`cluster: ${passed} of ${results.length} steps passed in ${summary.seconds} s`);
  const skipped = notRun.map(({ step, detail }) => `cluster: ${step} (${detail})`);
  writeCounts({ passed, failed, skipped });
  process.exitCode = passed === results.length ? 0 : 1;
}

function skip(reason: string): void {
  if (values.json) console.log(JSON.stringify({ skipped: reason }));
  else console.log(`cluster: skipped: ${reason}`);
  writeCounts({ passed: 0, failed: 0, skipped: [`cluster (${reason})`] });
}

/** Nobody asked for a test: that there are no programs is a failure. */
function fail(reason: string): void {
  console.error(reason);
  process.exitCode = 1;
}

/** For npm test. */
function writeCounts(counts: { passed: number; failed: number; skipped: string[] }): void {
  const file = process.env.FEDEDGE_TEST_COUNTS;
  if (file) writeFileSync(file, JSON.stringify(counts));
}

function seconds(): number {
  return Math.round((performance.now() - began) / 1000);
}
