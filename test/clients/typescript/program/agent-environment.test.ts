import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readAgentEnvironment } from '../../../../clients/typescript/program/agent-environment.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-agent-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const least = { FEDEDGE_URL: 'http://127.0.0.1:8080', FEDEDGE_AGENT_DATA: '/examples' };

function faultsOf(env: Record<string, string>): string[] {
  try {
    readAgentEnvironment(env);
    return [];
  } catch (error) {
    return (error as Error).message.split('\n').slice(1);
  }
}

it('needs a URL and a folder with data', () => {
  expect(faultsOf({})).toHaveLength(2);
  expect(readAgentEnvironment(least)).toMatchObject({ shard: { index: 0, count: 1 }, reportSeconds: 30 });
});

it('names every fault at once', () => {
  const faults = faultsOf({
    ...least,
    FEDEDGE_URL: 'nowhere',
    FEDEDGE_AGENT_SHARD: '3/3',
    FEDEDGE_AGENT_PORT: 'http',
    FEDEDGE_AGENT_BACKEND: 'gpu',
    FEDEDGE_ENROLLMENT_TOKEN_FILE: '/nowhere/token',
  });
  const names = ['URL', 'AGENT_SHARD', 'AGENT_PORT', 'AGENT_BACKEND', 'ENROLLMENT_TOKEN_FILE'];
  for (const name of names) expect(faults.filter((line) => line.includes(`FEDEDGE_${name}`))).toHaveLength(1);
  expect(faults).toHaveLength(names.length);
});

it.each(['1', 'a/b', '1/', '-1/2', '2/2', '0/0', '1/2/3'])('takes %j for no shard', (shard) => {
  expect(faultsOf({ ...least, FEDEDGE_AGENT_SHARD: shard })).toHaveLength(1);
});

it('prefers the token in a file, without its line end', async () => {
  const file = join(folder, 'token');
  await writeFile(file, 'fedenr_secret\n');
  const env = { ...least, FEDEDGE_ENROLLMENT_TOKEN: 'other', FEDEDGE_ENROLLMENT_TOKEN_FILE: file };
  expect(readAgentEnvironment(env).enrollmentToken).toBe('fedenr_secret');
  await writeFile(file, '\n');
  expect(faultsOf(env)).toHaveLength(1);
});
