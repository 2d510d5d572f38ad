import { join } from 'node:path';
import { DEFAULT_DATA_DIR } from './options.ts';

/** What the demo prints as its result with `--json`. */
export interface DemoResult {
  devices: number;
  rounds: number;
  /** Of the last version, on the 10,000 test images. */
  accuracy: number;
  centralAccuracy: number;
  /** From the start of the server to the score of the last version. */
  seconds: number;
  bytesUp: number;
  bytesDown: number;
}

/** `dataDir` as it was given: what is printed can be pasted into the same terminal. */
export function describeResult(
  result: DemoResult,
  { model, dataDir, resumed }: { model: string; dataDir: string; resumed: boolean },
): string {
  const since = resumed ? ' (since resumed)' : '';
  const rows: [string, string][] = [
    ['Devices', String(result.devices)],
    ['Rounds', String(result.rounds)],
    ['Accuracy', `${percent(result.accuracy)} on the 10,000 test images`],
    ['Central training', `${percent(result.centralAccuracy)} with the same data and budget in one place`],
    ['Time', `${result.seconds.toFixed(1)} s${since}`],
    ['Sent by devices', megabytes(result.bytesUp) + since],
    ['Sent to devices', megabytes(result.bytesDown) + since],
  ];
  const table = rows.map(([name, value]) => `  ${name.padEnd(18)}${value}`);
  const option = dataDir === DEFAULT_DATA_DIR ? '' : ` --data-dir ${dataDir}`;
  return `
${table.join('\n')}

Look around
  npm start -- --data-dir ${dataDir}    (then http://127.0.0.1:8080/docs)
  curl -H "Authorization: Bearer $(cat ${join(dataDir, 'operator.key')})" \\
    http://127.0.0.1:8080/v1/models/${model}/versions

Train another model in the same federation
  npm run demo${option && ` --${option}`}
`;
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
