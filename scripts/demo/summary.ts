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

export function describeResult(
  result: DemoResult,
  where: { url: string; dataDir: string; resumed: boolean },
): string {
  const rows: [string, string][] = [
    ['Devices', String(result.devices)],
    ['Rounds', String(result.rounds)],
    ['Accuracy', `${percent(result.accuracy)} on the 10,000 test images`],
    ['Central training', `${percent(result.centralAccuracy)} with the same data and budget in one place`],
    ['Time', `${result.seconds.toFixed(1)} s${where.resumed ? ' (since it was resumed)' : ''}`],
    ['Sent by devices', megabytes(result.bytesUp)],
    ['Sent to devices', megabytes(result.bytesDown)],
  ];
  const table = rows.map(([name, value]) => `  ${name.padEnd(18)}${value}`);
  return `
${table.join('\n')}

Look around
  npm start -- --data-dir ${where.dataDir}
                    serves this federation again: its models, runs, rounds, events and audit log
  http://127.0.0.1:8080/docs
                    is then the API's documentation; the operator key lies in ${where.dataDir}/operator.key
  npm run demo      trains another model in the same federation
`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
