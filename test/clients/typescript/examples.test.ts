import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createOperator } from '../../../clients/typescript/index.ts';
import { type Program, startProgram } from '../../support/acceptance/programs.ts';
import { startServer } from '../../support/acceptance/services.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let service: Awaited<ReturnType<typeof startServer>>;
let folder: string;
const programs: Program[] = [];

beforeAll(async () => {
  // The examples know one URL: that at which they reach the server.
  service = await startServer({ FEDEDGE_PUBLIC_URL: '' });
  folder = await mkdtemp(join(tmpdir(), 'fededge-examples-'));
});
afterAll(async () => {
  await Promise.all(programs.map((program) => program.kill9()));
  await service?.close();
  await rm(folder, { recursive: true, force: true });
});

function start(name: string, ...args: string[]): Program {
  const program = startProgram([`clients/typescript/examples/${name}`, ...args], {});
  programs.push(program);
  return program;
}

/** Two measurements and whether the first is the larger. */
function csv(offset: number): string {
  const rows = Array.from({ length: 80 }, (_, i) => {
    const [a, b] = [((i * 37 + offset) % 100) / 100, ((i * 61 + 3 * offset) % 100) / 100];
    return `${a},${b},${a > b ? 1 : 0}`;
  });
  return ['a,b,class', ...rows].join('\n');
}

test('devices with CSV files train a model together', async () => {
  const url = service.url();
  const operator = createOperator({ url, key: service.operatorKey });
  const { token } = await operator.createEnrollmentToken({ name: 'csv', maxUses: 2 });
  for (const name of ['one.csv', 'two.csv']) {
    await writeFile(join(folder, name), csv(name.length + name.charCodeAt(0)));
    start('csv-device.ts', url, token, join(folder, name));
  }
  await waitUntil('both devices are ready', async () => (await operator.listDevices()).length === 2);
  const run = start('csv-run.ts', url, service.operatorKey, 'csv', '2', '2');
  expect(await run.ended).toMatchObject({ code: 0 });
  const [trained] = await operator.listRuns({ model: 'csv' });
  expect(trained).toMatchObject({ state: 'completed', completedRounds: 10 });
  const losses = (await operator.listRounds(trained!.id)).map(({ metrics }) => metrics!.loss!);
  expect(losses.at(-1)).toBeLessThan(losses[0]! / 2);
});
