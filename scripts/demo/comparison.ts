import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CentralReport } from './central.ts';
import type { Progress } from './display.ts';

const CENTRAL = fileURLToPath(new URL('./central.ts', import.meta.url));

export interface Comparison {
  /** Shows how far it is, and resolves with the accuracy in the end. */
  finish(update: (progress: Progress) => void, signal: AbortSignal): Promise<number>;
  stop(): void;
}

/** Trains centrally with the same data and budget, with what the devices leave of the machine. */
export function startComparison(options: {
  devices: number;
  rounds: number;
  compileCache: string;
}): Comparison {
  const { promise: accuracy, resolve, reject } = Promise.withResolvers<number>();
  accuracy.catch(() => undefined);
  let show: ((report: Extract<CentralReport, { seen: number }>) => void) | undefined;
  const child = forkCentral(options);
  child.on('message', (report: CentralReport) => {
    if ('accuracy' in report) resolve(report.accuracy);
    else show?.(report);
  });
  child.once('exit', (code, signal) => reject(new Error(`central training has ended by ${signal ?? code}`)));
  return {
    finish(update, signal) {
      show = ({ seen, of }) => update(toProgress(seen, of));
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      return accuracy;
    },
    stop: () => void child.kill('SIGKILL'),
  };
}

function forkCentral(options: { devices: number; rounds: number; compileCache: string }): ChildProcess {
  return fork(CENTRAL, [String(options.devices), String(options.rounds)], {
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    env: { ...process.env, NODE_COMPILE_CACHE: options.compileCache },
  });
}

function toProgress(seen: number, of: number): Progress {
  const [value, total] = [seen, of].map((examples) => Math.floor(examples / 1000)) as [number, number];
  return { name: 'central  ', value, total, unit: 'thousand examples', status: '', done: seen >= of };
}
