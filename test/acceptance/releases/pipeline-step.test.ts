import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import type { Run } from '../../support/acceptance/operators.ts';
import { type Service, startServer } from '../../support/acceptance/services.ts';

const script = await readFile('infra/kubeflow/run-federation.mjs', 'utf8');

let service: Service;
let federation: Federation;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-pipeline-'));
  service = await startServer();
  federation = await createFederation(service, 3);
  await writeFile(join(folder, 'key'), `${service.operatorKey}\n`);
});
afterAll(async () => {
  await service?.close();
  await rm(folder, { recursive: true, force: true });
});

/** As Kubeflow's container starts it: the program is an argument. */
function step(run: object, once: string, files: string): Promise<{ code: number; output: string }> {
  const args = ['--input-type=module', '-e', script, '--'];
  args.push('--url', service.url(), '--key-file', join(folder, 'key'), '--run', JSON.stringify(run));
  args.push(
    '--once',
    once,
    '--run-id-to',
    join(folder, files, 'run'),
    '--version-to',
    join(folder, files, 'version'),
  );
  return new Promise((resolve) => {
    execFile(process.execPath, args, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    );
  });
}

const saved = (...path: string[]) => readFile(join(folder, ...path), 'utf8');

it('runs a federation to its end, and tells run and version; a repeat follows the same run', async () => {
  await federation.createModel('piped');
  const work = federation.work();
  const run = { model: 'piped', rounds: 2, quorum: 2, capacity: 3, deadlineMs: 10_000 };
  const answers = await Promise.all([step(run, 'task-1', 'first'), step(run, 'task-1', 'second')]);
  await work.stop();

  expect(answers.map(({ code, output }) => (code === 0 ? 'done' : output))).toEqual(['done', 'done']);
  expect(answers[0]?.output).toMatch(/completed \(rounds_done\); piped is at version 3/);
  expect(await saved('first', 'version')).toBe('3');
  expect(await saved('second', 'run')).toBe(await saved('first', 'run'));
  expect(await federation.operator.list<Run>('/v1/runs')).toHaveLength(1);
});

it('fails when the run is stopped', async () => {
  await federation.createModel('stopped');
  const ended = step({ model: 'stopped', rounds: 2, quorum: 3 }, 'task-2', 'third');
  const found = async () =>
    (await federation.operator.list<Run>('/v1/runs')).find(({ model }) => model === 'stopped');
  await expect.poll(found, { timeout: 45_000 }).toBeDefined();
  await federation.operator.post(`/v1/runs/${(await found())!.id}/stop`);

  expect(await ended).toMatchObject({ code: 1, output: expect.stringContaining('stopped (') });
});

it('ends at once, in the server’s words, when the run is refused', async () => {
  const { code, output } = await step({ model: 'nobody-knows' }, 'task-3', 'fourth');

  expect(code).toBe(1);
  expect(output).toMatch(/POST \/v1\/runs: 404 .*not_found/);
});

it('has nothing in it that Kubernetes or Kubeflow would take for a variable', () => {
  expect(script).not.toMatch(/\$\(|{{/);
});
