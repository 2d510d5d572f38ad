/**
 * `npm run demo`: a federation on this machine, with real parts. The server is a process with its own database, each
 * device is a process with its own data, and they meet over HTTP alone.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createOperator, type Operator } from '../clients/typescript/operator/operator.ts';
import { type DemoDevices, startDevices } from './demo/devices.ts';
import { createToken, prepareRun } from './demo/federation.ts';
import { type DemoOptions, readOptions } from './demo/options.ts';
import { createProgress } from './demo/progress.ts';
import { startServer } from './demo/server.ts';
import { type DemoResult, describeResult } from './demo/summary.ts';
import { watchRun } from './demo/watch.ts';

const CENTRAL = fileURLToPath(new URL('./demo/central.ts', import.meta.url));
const INTERRUPTED = 130;

const options = readOptions(process.argv);
const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort()).once('SIGTERM', () => stopping.abort());

try {
  await demo({ ...options, dataDir: resolve(options.dataDir) }, stopping.signal);
} catch (error) {
  process.exitCode = stopping.signal.aborted ? INTERRUPTED : 1;
  if (stopping.signal.aborted)
    console.error(`\nStopped. Run it again to go on where it was: ${options.dataDir}`);
  else console.error(`demo: ${error instanceof Error ? error.message : error}`);
}
process.exit();

async function demo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const say = options.json ? () => undefined : (text: string) => console.log(text);
  await using resources = new AsyncDisposableStack();
  const startedAt = performance.now();
  say('Starting a server with its own database ...');
  const server = await startServer(options);
  resources.defer(() => server.stop());
  const operator = createOperator({ url: server.url, key: server.operatorKey, signal });
  const { run, resumed } = await prepareRun(operator, options);
  const devices = run.capacity;
  say(`${resumed ? 'Resuming: r' : 'R'}un ${run.id} trains ${run.model} on ${server.url}`);
  say(`${devices} devices, each a process with its own part of MNIST (label skew: Dirichlet 0.5)\n`);
  const fleet = startDevices({
    devices,
    dataDir: options.dataDir,
    url: server.url,
    enrollmentToken: await createToken(operator, devices),
  });
  resources.defer(() => fleet.stop());
  const trained = await follow(operator, run, fleet, options, signal);
  const seconds = (performance.now() - startedAt) / 1000;
  const traffic = fleet.traffic();
  await fleet.stop();
  say('\nFor comparison: central training with the same data and budget ...');
  const centralAccuracy = await trainCentrally(devices, run.rounds, signal);
  const result: DemoResult = { devices, ...trained, centralAccuracy, seconds: round1(seconds), ...traffic };
  if (options.json) console.log(JSON.stringify(result));
  else console.log(describeResult(result, { url: server.url, dataDir: options.dataDir, resumed }));
}

async function follow(
  operator: Operator,
  run: { id: string; rounds: number },
  fleet: DemoDevices,
  { json }: DemoOptions,
  signal: AbortSignal,
): Promise<{ rounds: number; accuracy: number }> {
  const progress = createProgress({ rounds: run.rounds, quiet: json });
  try {
    return await Promise.race([watchRun(operator, run.id, progress, signal), fleet.failure]);
  } finally {
    progress.stop();
  }
}

async function trainCentrally(devices: number, rounds: number, signal: AbortSignal): Promise<number> {
  const child = fork(CENTRAL, [String(devices), String(rounds)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const [answer] = (await once(child, 'message', { signal }).finally(() => child.kill())) as [
    { accuracy: number },
  ];
  return answer.accuracy;
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
