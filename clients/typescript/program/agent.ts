/**
 * A device as a program: trains on the examples in a folder, and reports how released versions do on them.
 *
 *   FEDEDGE_URL=... FEDEDGE_ENROLLMENT_TOKEN=... FEDEDGE_AGENT_DATA=... node clients/typescript/program/agent.ts
 */
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import { createAgent } from '../agent/agent.ts';
import { openSession } from '../device/session.ts';
import type { DeviceProperties } from '../generated/types.gen.ts';
import { DEFAULT_BACKOFF, systemTiming } from '../http/retries.ts';
import client from '../package.json' with { type: 'json' };
import { createFileStore } from '../store/file-store.ts';
import { createTfjsTrainer } from '../tfjs-trainer.ts';
import { Declined, type Trainer } from '../trainer.ts';
import { type AgentEnvironment, readAgentEnvironment } from './agent-environment.ts';
import { type ExampleFolder, openExampleFolder } from './example-folder.ts';
import { leaveInOrder } from './leaving.ts';
import { serveLiveness } from './liveness.ts';
import { runProgram } from './run-program.ts';
import { createTurns } from './turns.ts';
import { createVersionReports } from './version-reports.ts';

type Turns = ReturnType<typeof createTurns>;

await runProgram(main, { graceMs: 25_000 });

async function main(stopping: AbortSignal): Promise<void> {
  const environment = readAgentEnvironment(process.env);
  const { url, audience, enrollmentToken, name, stateDir, port } = environment;
  const log = pino({ level: environment.logLevel, base: null });
  const folder = openExampleFolder(environment.dataDir, environment.shard);
  const inTurn = createTurns();
  const leaving = leaveInOrder(createTrainer(environment, folder, inTurn), stopping);
  let reporting: AbortController | undefined;
  const startReporting = () => {
    // Again after the device has become another one.
    reporting?.abort();
    reporting = new AbortController();
    const signal = AbortSignal.any([leaving.signal, reporting.signal]);
    reportForEver({ environment, folder, inTurn, log, signal }).catch((error: unknown) => {
      if (!signal.aborted) log.warn({ err: error }, 'no version is reported on any longer');
    });
  };
  const agent = createAgent({
    url,
    name,
    stateDir,
    ...(audience !== undefined && { audience }),
    ...(enrollmentToken !== undefined && { enrollmentToken }),
    trainer: leaving.trainer,
    properties: () => describe(folder),
    signal: leaving.signal,
    log,
    onProgress(event) {
      leaving.onProgress(event);
      if (event.type === 'ready') startReporting();
    },
  });
  const liveness = port === undefined ? undefined : await serveLiveness(port, () => reporting !== undefined);
  if (liveness) log.info({ port: liveness.port }, 'listening');
  await agent.run();
  log.info('left');
}

/** Trains and measures on the folder's examples, one thing at a time. */
function createTrainer(
  { backend }: Pick<AgentEnvironment, 'backend'>,
  folder: ExampleFolder,
  inTurn: Turns,
): Required<Trainer> {
  const data = async ({ name }: { name: string }) => {
    const examples = await folder.load(name);
    if (!examples) throw new Declined('no_data');
    return examples;
  };
  const trainer = createTfjsTrainer({ data, backend }) as Required<Trainer>;
  return {
    train: (task) => inTurn(() => trainer.train(task)),
    evaluate: (task) => inTurn(() => trainer.evaluate(task)),
  };
}

async function describe(folder: ExampleFolder): Promise<DeviceProperties> {
  const constrained = process.constrainedMemory();
  const memory = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return {
    models: await folder.models(),
    examples: await folder.count(),
    memoryMb: Math.floor(memory / 1e6),
    software: `fededge-agent/${client.version}`,
  };
}

interface Reporting {
  environment: AgentEnvironment;
  folder: ExampleFolder;
  inTurn: Turns;
  log: Logger;
  signal: AbortSignal;
}

async function reportForEver({ environment, folder, inTurn, log, signal }: Reporting): Promise<void> {
  const { url, audience, stateDir, reportSeconds } = environment;
  const session = await openSession({
    url,
    audience,
    signal,
    timing: systemTiming,
    backoff: DEFAULT_BACKOFF,
    store: await createFileStore(stateDir),
    onRetry: () => undefined,
  });
  const store = await createFileStore(join(stateDir, 'released'));
  const reportVersions = createVersionReports({
    session: { ...session, store },
    trainer: createTrainer(environment, folder, inTurn),
    models: folder.models,
    log,
  });
  for (;;) {
    await reportVersions();
    await sleep(reportSeconds * 1000, undefined, { signal });
  }
}
