import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Program, startProgram } from '../../support/acceptance/programs.ts';
import { createDatabase, type ReplicaDatabase } from '../../support/acceptance/surroundings/databases.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let dataDir: string;
let database: ReplicaDatabase;
let programs: Program[] = [];
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'fededge-migrations-'));
});
beforeEach(async () => {
  database = await createDatabase();
});
afterEach(async () => {
  await Promise.all(programs.map((program) => program.stop()));
  programs = [];
  await database.drop();
});
afterAll(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

function start(root: string, env: Record<string, string> = {}, ...args: string[]): Program {
  const program = startProgram([`api/${root}.ts`, ...args], {
    FEDEDGE_DATA_DIR: dataDir,
    FEDEDGE_PORT: '0',
    FEDEDGE_OPERATOR_KEY: `fedop_${randomBytes(32).toString('base64url')}`,
    FEDEDGE_MIGRATE: 'off',
    ...database.env,
    ...env,
  });
  programs.push(program);
  return program;
}

async function migrate(): Promise<void> {
  const { ended } = start('migrate');
  expect(await ended).toMatchObject({ code: 0 });
}

/** Where a program listens that is not ready yet: it says so in its log alone. */
async function listening(program: Program): Promise<string> {
  const url = () => /"url":"(http:\/\/[^"/]+)/.exec(program.output('stderr'))?.[1];
  await waitUntil('it listens', async () => url() !== undefined);
  return url()!;
}

async function execute(text: string): Promise<void> {
  const { PGHOST: host, PGPORT, PGUSER: user, PGPASSWORD: password, DATABASE_URL } = database.env;
  const sql = postgres({
    host: host!,
    port: Number(PGPORT),
    user: user!,
    ...(password ? { password } : {}),
    database: DATABASE_URL!.split('/').at(-1)!,
    max: 1,
    onnotice: () => {},
  });
  await sql.unsafe(text).finally(() => sql.end());
}

describe('with FEDEDGE_MIGRATE=off', () => {
  it('a server says that the schema is behind, lives, and serves once somebody has migrated', async () => {
    const server = start('server', {}, '--json');
    const url = await listening(server);
    const readiness = async () => (await (await fetch(`${url}/readyz`)).json()) as object;
    await waitUntil('it looked', async () => 'checks' in (await readiness()));
    expect(await readiness()).toMatchObject({ code: 'unavailable', checks: { schema: 'behind' } });
    expect((await fetch(`${url}/livez`)).status).toBe(200);
    expect((await fetch(`${url}/v1/models`)).status).toBe(503);
    await migrate();
    await server.firstLine();
    expect(await readiness()).toMatchObject({ status: 'ready', checks: { schema: 'ok' } });
  });

  it('a worker waits, lives, and works once somebody has migrated', async () => {
    const worker = start('worker', { FEDEDGE_METRICS_PORT: '0' });
    await waitUntil('it waits', async () => worker.output('stderr').includes('waiting until it is migrated'));
    expect((await fetch(`${await listening(worker)}/livez`)).status).toBe(200);
    expect(worker.output('stderr')).not.toContain('"msg":"working"');
    await migrate();
    await waitUntil('it works', async () => worker.output('stderr').includes('"msg":"working"'));
  });

  it('a server is not ready on a schema from which a newer version took what it needs', async () => {
    await migrate();
    const server = start('server', {}, '--json');
    const { url } = JSON.parse(await server.firstLine()) as { url: string };
    await waitUntil('it is ready', async () => (await fetch(`${url}/readyz`)).ok);
    await execute(`comment on schema drizzle is 'fededge needs ${Date.now() + 1e10}'`);
    await waitUntil('it is ready no longer', async () => !(await fetch(`${url}/readyz`)).ok);
    const answer = await fetch(`${url}/readyz`);
    expect(await answer.json()).toMatchObject({ checks: { database: 'ok', schema: 'ahead' } });
    const late = start('migrate');
    expect(await late.ended).toMatchObject({ code: 1 });
    expect(late.output('stderr')).toContain('belongs to a newer version');
  });
});

describe('migrate', () => {
  it('may run in many processes at once, and again', async () => {
    await Promise.all([migrate(), migrate(), migrate()]);
    await migrate();
    await expect(execute('select id from federations')).resolves.toBeUndefined();
  });

  it('knows later migrations that only add for none of its business', async () => {
    await migrate();
    await execute(
      `insert into drizzle.__drizzle_migrations (hash, created_at) values ('later', ${Date.now() + 1e10})`,
    );
    await migrate();
    const server = start('server', {}, '--json');
    const { url } = JSON.parse(await server.firstLine()) as { url: string };
    await waitUntil('it is ready', async () => (await fetch(`${url}/readyz`)).ok);
  });
});
