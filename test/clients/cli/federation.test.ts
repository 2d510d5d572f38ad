import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOperator } from '../../../clients/typescript/index.ts';
import { type Service, startHost } from '../../support/acceptance/services.ts';
import { waitFor } from '../../support/acceptance/waiting.ts';
import { fededge } from './support/command.ts';
import { createRepository, type Repository } from './support/repositories.ts';

let repository: Repository;
let service: Service;
let folder: string;
let env: Record<string, string>;

/** A server that reads its catalog from the work tree, and a model of two versions. */
beforeAll(async () => {
  repository = createRepository();
  repository.write('infra/environments/dev/models/.gitkeep', '');
  repository.commit('a folder for models');
  folder = mkdtempSync(join(tmpdir(), 'fededge-federation-'));
  const catalog = join(repository.root, 'infra', 'environments', 'dev');
  service = await startHost({ FEDEDGE_CATALOG: catalog, FEDEDGE_CATALOG_SECONDS: '1' });
  writeFileSync(join(folder, 'key'), service.operatorKey);
  env = { FEDEDGE_URL: service.url(), FEDEDGE_OPERATOR_KEY_FILE: join(folder, 'key') };
  const operator = createOperator({ url: service.url(), key: service.operatorKey });
  await operator.createModel({ name: 'mnist', manifest: { tensors: [{ name: 'w', shape: [2] }] } });
  for (const value of [1, 2]) {
    await operator.uploadVersion(
      'mnist',
      new Map([['w', { shape: [2], values: Float32Array.of(value, value) }]]),
    );
  }
});
afterAll(async () => {
  await service?.close();
  repository?.remove();
  rmSync(folder, { recursive: true, force: true });
});

const call = (...args: string[]) => fededge(args, { cwd: repository.root, env });
const release = (verb: string, ...args: string[]) =>
  call('release', verb, '--environment', 'dev', '--model', 'mnist', ...args);
const watch = async (version: number) => {
  const wanted = ['--watch', '--version', String(version), '--every', '1s'];
  const { code, json } = await call('release', 'status', '--model', 'mnist', '--json', ...wanted);
  const [active] = json().releases as { state: string; version: number; previous: number | null }[];
  return { code, state: active?.state, version: active?.version, previous: active?.previous };
};

/** The file of a key that may halt releases, which the first operator's may not. */
async function createReleaserKey(): Promise<string> {
  const answer = await fetch(`${service.url()}/v1/operator-keys`, {
    method: 'POST',
    headers: { authorization: `Bearer ${service.operatorKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ name: 'on call', role: 'releaser' }),
  });
  const { key } = (await answer.json()) as { key: string };
  const file = join(folder, 'releaser-key');
  writeFileSync(file, key);
  return file;
}

describe('a release, from the command to a real server', () => {
  it('rolls out, and back', async () => {
    expect(await release('create', '--version', '1', '--commit')).toMatchObject({ code: 0, stderr: '' });
    expect(await watch(1)).toEqual({ code: 0, state: 'complete', version: 1, previous: null });

    expect(await release('create', '--version', '2', '--commit')).toMatchObject({ code: 0, stderr: '' });
    expect(await watch(2)).toEqual({ code: 0, state: 'complete', version: 2, previous: 1 });

    expect(await release('rollback', '--commit')).toMatchObject({ code: 0, stderr: '' });
    expect(await watch(1)).toEqual({ code: 0, state: 'complete', version: 1, previous: null });
  });

  it('is halted by a releaser, until git says another', async () => {
    expect(await release('create', '--version', '2', '--commit')).toMatchObject({ code: 0 });
    expect(await watch(2)).toMatchObject({ state: 'complete', previous: 1 });
    const halt = (...args: string[]) => call('release', 'halt', '--model', 'mnist', ...args);
    expect(await halt()).toMatchObject({ code: 1, stderr: expect.stringContaining('releaser to halt') });
    const halted = await halt('--json', '--key-file', await createReleaserKey());
    expect(halted.json()).toMatchObject({ release: { state: 'halted', version: 2, previous: 1 } });
    expect(await watch(2)).toEqual({ code: 1, state: 'halted', version: 2, previous: 1 });
    expect(await release('rollback', '--commit')).toMatchObject({ code: 0 });
    expect(await watch(1)).toMatchObject({ code: 0, state: 'complete', version: 1 });
  });

  it('is in order for the doctor', async () => {
    // A busy machine may not answer within the doctor's patience.
    const findings = await waitFor('it finds nothing', async () => {
      const { code, stdout, json } = await call('doctor', '--json');
      if (code !== 0) throw new Error(stdout);
      return json().findings as { check: string; state: string; message: string }[];
    });
    expect(findings.filter(({ state }) => state === 'fault')).toEqual([]);
    expect(findings).toContainEqual(
      expect.objectContaining({ check: 'key', message: expect.stringContaining('role operator') }),
    );
  });
});
