import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createOperator, type LabelledExamples } from '../../../clients/typescript/index.ts';
import { encodeExamples } from '../../../clients/typescript/operator/evaluation-file.ts';
import { createTfjsModel } from '../../../clients/typescript/tfjs.ts';
import {
  type Program,
  rememberCluster,
  startProgram,
  stopCluster,
} from '../../support/acceptance/programs.ts';
import { createDatabase } from '../../support/acceptance/surroundings/databases.ts';
import { waitFor, waitUntil } from '../../support/acceptance/waiting.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const run = promisify(execFile);

/** Outside of the repository: nothing that is installed there can help. */
let folder: string;
let app: string;
let programs: Program[] = [];
const operatorKey = `fedop_${randomBytes(32).toString('base64url')}`;
const common = { FEDEDGE_OPERATOR_KEY: operatorKey, FEDEDGE_PORT: '0' };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fededge-bundle-'));
  await chmod(folder, 0o755);
  app = join(folder, 'app');
  await run(process.execPath, ['scripts/image.ts', '--out', app], { cwd: root });
});
afterEach(async () => {
  await Promise.all(programs.map((program) => program.stop()));
  programs = [];
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

function start(command: string, env: Record<string, string>): Program {
  const program = startProgram([join(app, 'fededge.js'), ...command.split(' ')], { ...common, ...env });
  programs.push(program);
  return program;
}

/** Points and whether they lie above a line. */
function points(count: number): LabelledExamples {
  const values = Float32Array.from({ length: count * 2 }, (_, i) => ((i * 37 + (i % 2) * 11) % 101) / 101);
  const y = Uint8Array.from({ length: count }, (_, row) => (values[row * 2]! > values[row * 2 + 1]! ? 1 : 0));
  return { x: { shape: [count, 2], values }, y };
}

const dense = (config: object) => ({ class_name: 'Dense', config });
const architecture = {
  format: 'tfjs-layers' as const,
  topology: {
    class_name: 'Sequential',
    config: {
      name: 'points',
      layers: [
        dense({ name: 'hidden', units: 8, activation: 'relu', batch_input_shape: [null, 2] }),
        dense({ name: 'side', units: 2, activation: 'softmax' }),
      ],
    },
  },
};

async function createModel(operator: ReturnType<typeof createOperator>): Promise<void> {
  const { manifest, weights } = await createTfjsModel(architecture, { seed: 1 });
  await operator.createModel({ name: 'points', manifest });
  await operator.uploadEvaluationSet('points', points(100));
  await operator.uploadVersion('points', weights);
}

async function readyUrl(server: Program): Promise<string> {
  return (JSON.parse(await server.firstLine()) as { url: string }).url;
}

it('runs a federation with plain Node: migration, server, worker, agents', { timeout: 180_000 }, async () => {
  const database = await createDatabase();
  const env = { ...database.env, FEDEDGE_DATA_DIR: join(folder, 'data'), FEDEDGE_MIGRATE: 'off' };
  const server = start('server --json', { ...env, FEDEDGE_WORKER: 'off' });
  const worker = start('worker', { ...env, FEDEDGE_METRICS_PORT: '0' });
  expect(await start('migrate', env).ended).toMatchObject({ code: 0 });
  const url = await readyUrl(server);
  await waitUntil('the worker works', () => worker.output('stderr').includes('"msg":"working"'));
  const operator = createOperator({ url, key: operatorKey });
  await createModel(operator);

  const data = join(folder, 'examples');
  await mkdir(data);
  await writeFile(join(data, 'points.safetensors'), encodeExamples(points(201)));
  const { token } = await operator.createEnrollmentToken({ name: 'agents', maxUses: 2 });
  await writeFile(join(folder, 'token'), `${token}\n`);
  const agents = [0, 1].map((index) =>
    start('agent', {
      FEDEDGE_URL: url,
      FEDEDGE_ENROLLMENT_TOKEN_FILE: join(folder, 'token'),
      FEDEDGE_AGENT_DIR: join(folder, `agent-${index}`),
      FEDEDGE_AGENT_DATA: data,
      FEDEDGE_AGENT_SHARD: `${index}/2`,
      FEDEDGE_AGENT_REPORT_SECONDS: '1',
      FEDEDGE_AGENT_PORT: '0',
    }),
  );
  const { id } = await operator.createRun({
    model: 'points',
    rounds: 2,
    quorum: 2,
    capacity: 2,
    hyperparameters: { epochs: 5, batchSize: 16, learningRate: 0.1 },
  });
  expect(await operator.waitForRun(id)).toMatchObject({ state: 'completed', completedRounds: 2 });

  const devices = await operator.listDevices();
  expect(devices.map(({ properties }) => properties.examples).sort()).toEqual([100, 101]);
  const scored = await waitFor('version 3 is scored', async () => {
    return (await operator.getVersion('points', 3)).score ?? undefined;
  });
  expect(scored).toMatchObject({ examples: 100 });
  for (const agent of agents) {
    await waitUntil('it reports on version 3', () => /"version":3.*"reported"/.test(agent.output('stdout')));
    const port = /"port":(\d+)/.exec(agent.output('stdout'))![1];
    expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200);
    await agent.stop();
    expect(await agent.ended).toEqual({ code: 0, signal: null });
  }
  await worker.stop();
  await server.stop();
  expect([(await worker.ended).code, (await server.ended).code]).toEqual([0, 0]);
  await database.drop();
});

it('serves the documentation and knows its version', { timeout: 120_000 }, async () => {
  const database = await createDatabase();
  const server = start('server --json', { ...database.env, FEDEDGE_DATA_DIR: join(folder, 'docs') });
  const url = await readyUrl(server);
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as { info: { version: string } };
  const { default: manifest } = await import('../../../package.json', { with: { type: 'json' } });
  expect(document.info.version).toBe(manifest.version);
  expect((await fetch(`${url}/docs`)).status).toBe(200);
  expect(await (await fetch(`${url}/docs/style.css`)).text()).toContain('{');
  await server.stop();
  await database.drop();
});

it('runs its own database where the binaries lie beside it', { timeout: 120_000 }, async () => {
  await run(process.execPath, ['scripts/image/database.ts', 'node_modules', join(app, 'node_modules')], {
    cwd: root,
  });
  const dataDir = join(folder, 'embedded');
  await mkdir(dataDir);
  rememberCluster(dataDir);
  const server = start('server --json', { FEDEDGE_DATA_DIR: dataDir });
  const url = await readyUrl(server);
  expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ checks: { database: 'ok' } });
  expect((await readdir(dataDir)).includes('database')).toBe(true);
  await server.stop();
  await stopCluster(dataDir);
});

it('names its commands when it is given another', async () => {
  const program = start('serve', {});
  expect(await program.ended).toMatchObject({ code: 1 });
  expect(program.output('stderr')).toContain('server, worker, migrate, agent, release');
});

it('ships the licences of what it contains', async () => {
  const licenses = await readFile(join(app, 'licenses.txt'), 'utf8');
  for (const name of ['hono', 'drizzle-orm', '@tensorflow/tfjs-core', 'pino']) {
    expect(licenses).toMatch(new RegExp(`^${name} \\d`, 'm'));
  }
});
