/**
 * A device that trains on a CSV file of its own: numbers in every row, the last one the index of the class.
 *
 *   node clients/typescript/examples/csv-device.ts URL ENROLMENT_TOKEN data.csv
 *
 * It keeps its key beside the file, trains whenever it is asked to, and ends with Ctrl-C; started again it is the same
 * device. `csv-run.ts` makes a model for it and starts the training.
 */
import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { createAgent } from '../index.ts';
import { createTfjsTrainer, type Examples } from '../tfjs.ts';

const [url, enrollmentToken, file] = process.argv.slice(2);
if (!url || !enrollmentToken || !file) throw new Error('usage: csv-device.ts URL ENROLMENT_TOKEN FILE');
const stopping = new AbortController();
process.once('SIGINT', () => stopping.abort());

/** Read for every round, so that what was measured meanwhile is learned from too. */
async function readExamples(path: string): Promise<Examples> {
  const lines = (await readFile(path, 'utf8')).split('\n');
  const rows = lines.map((line) => line.split(',').map(Number.parseFloat));
  const whole = rows.filter((row) => row.length > 1 && row.every(Number.isFinite));
  const features = whole.map((row) => row.slice(0, -1));
  return {
    x: {
      shape: [whole.length, features[0]?.length ?? 0],
      dtype: 'F32',
      values: Float32Array.from(features.flat()),
    },
    y: Int32Array.from(whole, (row) => row.at(-1)!),
  };
}

const agent = createAgent({
  url,
  enrollmentToken,
  name: basename(file),
  stateDir: `${file}.device`,
  trainer: createTfjsTrainer({ data: () => readExamples(file) }),
  signal: stopping.signal,
  onProgress(event) {
    if (event.type === 'ready') console.log(`device ${event.device} is ready`);
    if (event.type === 'assigned') console.log(`round ${event.assignment.roundNumber}`);
    if (event.type === 'settled') console.log(event.outcome, event.reason ?? '');
    if (event.type === 'retrying') console.log(event.error.message);
  },
});
await agent.run();
