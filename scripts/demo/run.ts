import { flushCompileCache } from 'node:module';
import { resolve } from 'node:path';
import type { Run } from '../../clients/typescript/generated/types.gen.ts';
import { createOperator } from '../../clients/typescript/operator/operator.ts';
import { startComparison } from './comparison.ts';
import { startDevices } from './devices.ts';
import { createDisplay, type Display } from './display.ts';
import { createToken, prepareRun } from './federation.ts';
import type { DemoOptions } from './options.ts';
import { startServer } from './server.ts';
import { describeResult } from './summary.ts';
import { BACKOFF } from './task.ts';
import { watchRun } from './watch.ts';

type Options = DemoOptions & { compileCache: string };

/** The whole demo. Whatever it started has ended when the promise settles. */
export async function runDemo(options: Options, signal: AbortSignal): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const startedAt = performance.now();
  const display = createDisplay({ toStandardError: options.json });
  const { server, fleet } = await startProcesses(options, display, { resources, signal });
  const operator = createOperator({
    url: server.url,
    key: server.operatorKey,
    backoff: BACKOFF,
    attempts: 20,
    signal,
  });
  const { run, resumed } = await prepareRun(operator, options);
  const { model, rounds, capacity: devices } = run;
  introduce(display, { run, resumed, url: server.url });
  fleet.begin({ url: server.url, model, devices, enrollmentToken: await createToken(operator, devices) });
  const comparison = startComparison({ devices, rounds, compileCache: options.compileCache });
  resources.defer(() => comparison.stop());

  const watching = watchRun(operator, run.id, display.update, signal);
  const trained = await Promise.race([watching, fleet.failure, server.failure]);
  const seconds = round((performance.now() - startedAt) / 1000, 1);
  const leaving = fleet.stop();
  display.say('\nCentral training with the same data and budget, for comparison ...');
  const centralAccuracy = await comparison.finish(display.update, signal);
  await leaving;
  const result = {
    devices,
    rounds: trained.rounds,
    accuracy: round(trained.accuracy, 4),
    centralAccuracy: round(centralAccuracy, 4),
    seconds,
    ...fleet.traffic(),
  };
  display.say(describeResult(result, { model, dataDir: options.dataDir, resumed }));
  if (options.json) console.log(JSON.stringify(result));
}

/** Devices load their code while the server starts. In the end they go before it. */
async function startProcesses(
  { devices, dataDir, port, compileCache }: Options,
  display: Display,
  { resources, signal }: { resources: AsyncDisposableStack; signal: AbortSignal },
) {
  const note = display.say;
  note('Starting a server with its own database, and the devices ...');
  const starting = startServer({ dataDir: resolve(dataDir), port, note, signal });
  resources.defer(async () => (await starting.catch(() => undefined))?.stop());
  // What is compiled here already need not be compiled in each of them.
  flushCompileCache();
  const fleet = startDevices({ devices, dataDir: resolve(dataDir), compileCache, note });
  resources.defer(() => fleet.stop());
  return { server: await starting, fleet };
}

function introduce(
  { say }: Display,
  { run, resumed, url }: { run: Run; resumed: boolean; url: string },
): void {
  const { id, model, rounds, completedRounds, capacity } = run;
  say(`  API       ${url}/docs`);
  say(`  Run       ${id}${resumed ? `, goes on after ${completedRounds} of ${rounds} rounds` : ''}`);
  say(`  Model     ${model}, a perceptron for handwritten digits`);
  say(`  Devices   ${capacity} processes, each with its own part of MNIST (Dirichlet 0.5)\n`);
}

/** 10,000 images decide an accuracy: four digits are all of it. */
function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
