/** One device of the demo: a process with its own shard of the data, that knows nothing but the server's URL. */
import { once } from 'node:events';
import { createAgent } from '../../clients/typescript/agent/agent.ts';
import { createTfjsTrainer } from '../../clients/typescript/tfjs-trainer.ts';
import { BACKOFF, loadShard } from './task.ts';

/** What the demo tells a device over IPC when the server is there. */
export interface DeviceOrder {
  url: string;
  enrollmentToken: string;
  /** The model that it has data for. */
  model: string;
  /** How many devices share the data. */
  devices: number;
}

/** What a device tells the demo: the bytes of tensors that it moved, or why it has given up. */
export type DeviceReport = { bytesDown: number } | { bytesUp: number } | { failed: string };

const [index, stateDir] = [Number(process.argv[2]), process.argv[3]!];
const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT', 'disconnect'] as const)
  process.once(signal, () => stopping.abort());

try {
  const [order] = (await once(process, 'message', { signal: stopping.signal })) as [DeviceOrder];
  await work(order);
} catch (error) {
  if (!stopping.signal.aborted) {
    report({ failed: error instanceof Error ? error.message : String(error) });
    process.exitCode = 1;
  }
}
if (process.connected) process.disconnect?.();

async function work({ url, enrollmentToken, model, devices }: DeviceOrder): Promise<void> {
  const examples = loadShard(index, devices);
  const updateBytes = new Map<string, number>();
  const agent = createAgent({
    url,
    enrollmentToken,
    name: `device-${index + 1}`,
    stateDir,
    trainer: createTfjsTrainer({ data: examples }),
    properties: { models: [model], examples: examples.y.length, software: 'fededge demo' },
    signal: stopping.signal,
    backoff: BACKOFF,
    onProgress(event) {
      if (event.type === 'downloaded' && !event.cached) report({ bytesDown: event.bytes });
      if (event.type === 'trained') updateBytes.set(event.assignment.id, event.bytes);
      if (event.type === 'settled' && event.outcome === 'accepted') {
        report({ bytesUp: updateBytes.get(event.assignmentId) ?? 0 });
      }
    },
  });
  await agent.run();
}

function report(message: DeviceReport): void {
  process.send?.(message);
}
