import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startProgram } from '../../support/acceptance/programs.ts';
import { startServer } from '../../support/acceptance/services.ts';
import { createDatabase } from '../../support/acceptance/surroundings/databases.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-doctor-'));
  await chmod(folder, 0o755);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function run(program: string, env: Record<string, string>) {
  const started = startProgram([program], { FEDEDGE_DATA_DIR: join(folder, 'data'), ...env });
  const { code } = await started.ended;
  return { code, output: started.output('stdout') + started.output('stderr') };
}

/** A database that is not there, keys that are none, blobs that are a file, a port that is taken. */
async function faultySettings(): Promise<Record<string, string>> {
  const dataDir = join(folder, 'data');
  await mkdir(dataDir);
  await writeFile(join(dataDir, 'blobs'), 'a file, not a folder');
  await writeFile(join(folder, 'keys.json'), '{"keys": []}');
  return {
    DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none',
    FEDEDGE_TOKEN_KEYS: join(folder, 'keys.json'),
  };
}

it('finds nothing wrong with an empty environment', async () => {
  const { code, output } = await run('api/doctor.ts', { FEDEDGE_PORT: '0' });
  expect(output).not.toContain('FAULT');
  expect(code).toBe(0);
  expect(output).toMatch(/ok\s+database: the embedded PostgreSQL \d+/);
});

it('looks at an external database', async () => {
  const database = await createDatabase();
  const { code, output } = await run('api/doctor.ts', { ...database.env, FEDEDGE_PORT: '0' });
  await database.drop();
  expect([code, output]).toEqual([0, expect.stringMatching(/ok\s+database: PostgreSQL \d+/)]);
});

it('looks at the catalog, without which a server starts all the same', async () => {
  const env = { FEDEDGE_PORT: '0', FEDEDGE_CATALOG: join(folder, 'catalog') };
  const missing = await run('api/doctor.ts', env);
  expect([missing.code, missing.output]).toEqual([0, expect.stringMatching(/warning\s+catalog: .*ENOENT/)]);
  await mkdir(join(folder, 'catalog/models'), { recursive: true });
  await writeFile(join(folder, 'catalog/models/mnist.yaml'), 'model: mnist\nchannel: head\n');
  expect((await run('api/doctor.ts', env)).output).toMatch(/ok\s+catalog: 1 file in/);
});

it('names every fault at once', async () => {
  const taken = createServer((_request, answer) => answer.end('something else'));
  await new Promise<void>((resolve) => void taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as AddressInfo;
  const env = { ...(await faultySettings()), FEDEDGE_PORT: String(port), FEDEDGE_LEASE_MS: 'soon' };
  const { code, output } = await run('api/doctor.ts', {
    ...env,
    FEDEDGE_OPERATOR_KEY: 'fedop_short',
    FEDEDGE_HOST: '127.0.0.1',
    FEDEDGE_PUBLIC_URL: 'http://fededge.example',
  });
  taken.close();
  expect(code).toBe(1);
  const faults = output.split('\n').filter((line) => line.startsWith('FAULT'));
  expect(faults.map((line) => line.replace(/^FAULT\s+/, '').slice(0, 40)).sort()).toEqual([
    expect.stringContaining('blobs: The blob store failed'),
    expect.stringContaining('configuration: FEDEDGE_LEASE_MS'),
    expect.stringContaining('configuration: FEDEDGE_OPERATOR_KEY'),
    expect.stringContaining('database: DATABASE_URL cannot be used'),
    expect.stringContaining(`port: cannot listen at 127.0.0.1:${port}`),
    expect.stringContaining('token keys: '),
  ]);
  expect(output).toMatch(/warning\s+public URL: http:\/\/fededge\.example is not encrypted/);
});

it('is asked by a server that cannot start', async () => {
  const database = await createDatabase();
  const { code, output } = await run('api/server.ts', {
    ...(await faultySettings()),
    ...database.env,
    FEDEDGE_PORT: '0',
  });
  await database.drop();
  expect(code).toBe(1);
  expect(output).toContain('FedEdge cannot start:');
  expect(output).toContain('- blobs: ');
  expect(output).toContain('- token keys: ');
});

it('knows a port that FedEdge itself has taken', async () => {
  const service = await startServer();
  const { port } = new URL(service.url());
  const { output } = await run('api/doctor.ts', { FEDEDGE_PORT: port });
  await service.close();
  expect(output).toMatch(/ok\s+port: FedEdge listens at/);
});
