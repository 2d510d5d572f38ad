/** One device of the demo: a process with its own shard of the data, that knows nothing but the server's URL. */
import { createAgent } from '../../clients/typescript/agent/agent.ts';
import { createTfjsTrainer } from '../../clients/typescript/tfjs-trainer.ts';
import { loadShards, toExamples } from './task.ts';

/** What a device tells the demo over IPC: the bytes of tensors that it moved. */
export type DeviceReport = { bytesDown: number } | { bytesUp: number } | { failed: string };

const [index, devices] = process.argv.slice(2).map(Number) as [number, number];
const { DEMO_URL: url = '', DEMO_TOKEN: enrollmentToken = '', DEMO_STATE: stateDir = '' } = process.env;
const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT', 'disconnect'] as const)
  process.once(signal, () => stopping.abort());

const report = (message: DeviceReport) => process.send?.(message);
const { train, shards } = loadShards(devices);
const examples = toExamples(train, shards[index]!);
const updateBytes = new Map<string, number>();

const agent = createAgent({
  url,
  enrollmentToken,
  name: `device-${index + 1}`,
  stateDir,
  trainer: createTfjsTrainer({ data: examples }),
  properties: { examples: examples.y.length, software: 'fededge demo' },
  signal: stopping.signal,
  onProgress(event) {
    if (event.type === 'downloaded' && !event.cached) report({ bytesDown: event.bytes });
    if (event.type === 'trained') updateBytes.set(event.assignment.id, event.bytes);
    if (event.type === 'settled' && event.outcome === 'accepted') {
      report({ bytesUp: updateBytes.get(event.assignmentId) ?? 0 });
    }
  },
});

try {
  await agent.run();
} catch (error) {
  report({ failed: error instanceof Error ? error.message : String(error) });
  process.exitCode = 1;
}
process.disconnect?.();
