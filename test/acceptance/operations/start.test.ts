import { chmod, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Program,
  postmasterPid,
  rememberCluster,
  startProgram,
  stopCluster,
} from '../../support/acceptance/programs.ts';

interface Announcement {
  url: string;
  dataDir: string;
  operatorKeyFile: string;
  enrollmentToken?: string;
}

let folder: string;
let dataDir: string;
let programs: Program[];

async function makeFolder(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), 'fededge-start-'));
  // Where we are root the database runs as another user, who has to pass.
  await chmod(folder, 0o755);
  dataDir = join(folder, 'data');
  programs = [];
}

async function removeFolder(): Promise<void> {
  await Promise.all(programs.map((program) => program.stop()));
  await stopCluster(dataDir);
  await rm(folder, { recursive: true, force: true });
}

function start(args: string[] = ['--json'], env: Record<string, string> = {}): Program {
  rememberCluster(dataDir);
  const program = startProgram(['api/server.ts', '--port', '0', '--data-dir', dataDir, ...args], env);
  programs.push(program);
  return program;
}

async function announced(program: Program): Promise<Announcement> {
  return JSON.parse(await program.firstLine()) as Announcement;
}

async function statusOf(url: string, key = ''): Promise<number> {
  const response = await fetch(url, { headers: key ? { authorization: `Bearer ${key}` } : {} });
  await response.body?.cancel();
  return response.status;
}

/** The data folder has an owner: the server is past reading its configuration. */
async function waitForOwner(): Promise<void> {
  while ((await readdir(join(dataDir, 'owner')).catch(() => [])).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('the life of a data folder, from one start to the next', () => {
  beforeAll(makeFolder);
  afterAll(removeFolder);
  let server: Program;
  let first: Announcement;
  let key: string;

  it('begins with a server that is ready, an operator key and an enrolment token', async () => {
    server = start(['--json'], { FEDEDGE_LOG_LEVEL: 'trace' });
    first = await announced(server);
    expect(await statusOf(`${first.url}/readyz`)).toBe(200);
    key = (await readFile(first.operatorKeyFile, 'utf8')).trim();
    expect(await statusOf(`${first.url}/v1/devices`)).toBe(401);
    expect(await statusOf(`${first.url}/v1/devices`, key)).toBe(200);
    const headers = { authorization: `Bearer ${key}` };
    const { items } = (await (await fetch(`${first.url}/v1/enrollment-tokens`, { headers })).json()) as {
      items: unknown[];
    };
    expect(items).toEqual([expect.objectContaining({ maxUses: 100, uses: 0 })]);
    expect(first.enrollmentToken).toMatch(/^fedenr_/);
  });

  it('refuses a second server, which names the first', async () => {
    const second = start();
    expect(await second.ended).toEqual({ code: 1, signal: null });
    expect(second.output('stderr')).toContain(`process ${server.pid}`);
    expect(await statusOf(`${first.url}/readyz`)).toBe(200);
  });

  it('stops in order by SIGTERM: exit code 0, the database too', async () => {
    process.kill(server.pid, 'SIGTERM');
    expect(await server.ended).toEqual({ code: 0, signal: null });
    await expect(postmasterPid(dataDir)).rejects.toThrow();
  });

  it('keeps its secrets to its owner and out of the log', async () => {
    for (const name of ['operator.key', 'token-keys.json']) {
      expect((await stat(join(dataDir, name))).mode & 0o077).toBe(0);
    }
    const log = server.output('stderr');
    expect(log).toContain('/v1/devices');
    expect(log).not.toContain(key);
    expect(log).not.toContain(first.enrollmentToken);
  });

  it('shows no second token at a later start, and says how to make one', async () => {
    server = start([]);
    await server.firstLine();
    process.kill(server.pid, 'SIGINT');
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(server.output('stdout')).not.toMatch(/fedenr_/);
    expect(server.output('stdout')).toContain('/v1/enrollment-tokens');
  });

  it('goes on with the database of a server that was killed', async () => {
    server = start();
    await announced(server);
    const database = await postmasterPid(dataDir);
    await server.kill9();
    server = start();
    const { url } = await announced(server);
    expect(await postmasterPid(dataDir)).toBe(database);
    expect(await statusOf(`${url}/v1/devices`, key)).toBe(200);
  });
});

describe('a first start', () => {
  beforeEach(makeFolder);
  afterEach(removeFolder);

  it('tells a person where everything is and what to do next', async () => {
    const server = start([]);
    await server.firstLine();
    await server.stop();
    const said = server.output('stdout');
    expect(said).toMatch(/http:\/\/127\.0\.0\.1:\d+\/docs/);
    expect(said).toMatch(/fedenr_[\w-]{43}/);
    expect(said).toMatch(/curl .*\/v1\/devices/);
    expect(said).toContain(join(dataDir, 'operator.key'));
    expect(said).toContain('npm run demo');
  });

  it('may be stopped in the middle; the next one is whole', async () => {
    const server = start();
    await waitForOwner();
    process.kill(server.pid, 'SIGTERM');
    expect((await server.ended).signal).toBeNull();
    const { url } = await announced(start());
    expect(await statusOf(`${url}/readyz`)).toBe(200);
  });

  it('is won by one of two at the same time; the other names it', async () => {
    const both = [start(), start()];
    const lines = await Promise.all(both.map((server) => announced(server).catch(() => undefined)));
    const winner = lines.findIndex((line) => line !== undefined);
    const loser = both[1 - winner]!;
    expect(lines.filter((line) => line !== undefined)).toHaveLength(1);
    expect((await loser.ended).code).toBe(1);
    expect(loser.output('stderr')).toContain(`process ${both[winner]!.pid}`);
    expect(await statusOf(`${lines[winner]!.url}/readyz`)).toBe(200);
  });
});

describe('a start that cannot be', () => {
  beforeEach(makeFolder);
  afterEach(removeFolder);
  const refused = (args: string[], env: Record<string, string> = {}) => {
    const program = startProgram(args, env);
    programs.push(program);
    return program;
  };

  it('names every fault of the configuration, without a stack', async () => {
    const program = refused(['api/server.ts', '--port', 'x'], { FEDEDGE_LEASE_MS: '0' });
    expect((await program.ended).code).toBe(1);
    expect(program.output('stderr')).toMatch(/FEDEDGE_PORT[\s\S]*FEDEDGE_LEASE_MS/);
    expect(program.output('stderr')).not.toMatch(/\n {4}at /);
  });

  it('says that the port is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const program = start(['--json', '--port', String(port)]);
    expect((await program.ended).code).toBe(1);
    expect(program.output('stderr')).toContain(`port ${port}`);
    await new Promise((resolve) => other.close(resolve));
  });

  it('is a worker of its own without a database to share', async () => {
    const program = refused(['api/worker.ts']);
    expect((await program.ended).code).toBe(1);
    expect(program.output('stderr')).toContain('DATABASE_URL');
  });

  it('is explained by --help', async () => {
    const program = refused(['api/server.ts', '--help']);
    expect((await program.ended).code).toBe(0);
    expect(program.output('stdout')).toContain('--data-dir');
  });
});
