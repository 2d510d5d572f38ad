import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Operator } from '../../../clients/typescript/index.ts';
import { startNode } from '../system/programs.ts';
import type { Server } from './devices.ts';
import type { FleetCommands } from './fleet-process.ts';

const PROCESS = fileURLToPath(new URL('fleet-process.ts', import.meta.url));
const HOUR_SECONDS = 3600;

/** The parent's end of the devices' process. */
export interface Fleet {
  ask<N extends keyof FleetCommands>(
    name: N,
    input: Parameters<FleetCommands[N]>[0] extends undefined ? undefined : Parameters<FleetCommands[N]>[0],
  ): Promise<Awaited<ReturnType<FleetCommands[N]>>>;
  /** Registers devices with one token of many uses. */
  enrol(operator: Operator, server: Server, count: number): Promise<void>;
  stop(): Promise<void>;
}

interface Reply {
  id: number;
  value?: unknown;
  failed?: string;
}

export function startFleet(options: { folder: string; openFiles?: number }): Fleet {
  const logFile = join(options.folder, 'fleet.log');
  const program = startNode([PROCESS], { logFile, openFiles: options.openFiles });
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let orders = 0;
  program.child.on('message', ({ id, value, failed }: Reply) => {
    const settle = waiting.get(id);
    waiting.delete(id);
    if (failed === undefined) settle?.resolve(value);
    else settle?.reject(new Error(`the devices could not go on: ${failed}`));
  });
  program.child.once('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error(`the devices' process ended (${logFile})`));
  });
  const ask: Fleet['ask'] = (name, input) => {
    const { promise, resolve, reject } = Promise.withResolvers<never>();
    orders += 1;
    waiting.set(orders, { resolve: resolve as (value: unknown) => void, reject });
    program.child.send({ id: orders, name, input });
    return promise;
  };
  return {
    ask,
    async enrol(operator, server, count) {
      const body = { name: 'bench', maxUses: count, expiresInSeconds: HOUR_SECONDS };
      const { token } = await operator.createEnrollmentToken(body);
      await ask('enrol', { server, enrollmentToken: token, count });
    },
    stop: () => program.stop(),
  };
}
