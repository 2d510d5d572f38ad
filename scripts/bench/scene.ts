import { setTimeout as sleep } from 'node:timers/promises';
import type { Operator, Run } from '../../clients/typescript/index.ts';
import type { Server } from './fleet/devices.ts';
import { makeValues, TENSOR } from './fleet/tensor-files.ts';
import type { Deployment } from './system/deployments.ts';

const HOUR_MS = 3_600_000;
const RETRY_MS = 200;

export function serverOf({ url, publicUrl }: Deployment): Server {
  return { url, audience: publicUrl };
}

/** A model of one tensor, with its first version. */
export async function createModel(operator: Operator, name: string, parameters: number): Promise<void> {
  const shape = [parameters];
  await operator.createModel({ name, manifest: { tensors: [{ name: TENSOR, shape, dtype: 'F32' }] } });
  await operator.uploadVersion(name, new Map([[TENSOR, { shape, values: makeValues(parameters) }]]));
}

/** A run whose rounds take an update of each of so many devices, and end with the last of them. */
export function startRun(
  operator: Operator,
  { model, devices, rounds = 1_000_000 }: { model: string; devices: number; rounds?: number },
): Promise<Run> {
  return operator.createRun({
    model,
    rounds,
    quorum: devices,
    capacity: devices,
    deadlineMs: HOUR_MS,
    pendingMs: HOUR_MS,
    presenceMs: HOUR_MS,
    seed: 1,
  });
}

/** Fails its open round. */
export async function stopRun({ operator }: Deployment, run: string): Promise<void> {
  const { stopRun: stop } = await import('../../clients/typescript/generated/index.ts');
  for (;;) {
    const { response } = await stop({ client: operator.api, path: { run } });
    if (response?.ok) return;
    // Ten thousand devices may just have been woken.
    if (response?.status !== 503) throw new Error(`the run cannot be stopped: ${response?.status}`);
    await sleep(RETRY_MS);
  }
}

/** Seconds from one published version to the next, of the first from the opening of its round. */
export async function roundSeconds(operator: Operator, run: string): Promise<number[]> {
  const rounds = (await operator.listRounds(run, 'train')).toSorted((a, b) => a.number - b.number);
  const failed = rounds.find(({ state }) => state !== 'completed');
  if (failed) throw new Error(`round ${failed.number} is ${failed.state}: ${failed.reason}`);
  return rounds.map(({ openedAt, endedAt }, index) => {
    const before = rounds[index - 1]?.endedAt ?? openedAt;
    return (Date.parse(endedAt!) - Date.parse(before)) / 1000;
  });
}
