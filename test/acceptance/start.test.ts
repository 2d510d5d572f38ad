import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Program,
  postmasterPid,
  rememberCluster,
  startProgram,
  stopCluster,
} from '../support/acceptance/programs.ts';

interface Announcement {
  url: string;
  dataDir: string;
  operatorKeyFile: string;
  enrollmentToken?: string;
}

let folder: string;
let dataDir: string;
let programs: Program[];

beforeEach(async () => {
  // Readable for others: where we are root the database runs as another user.
  folder = await mkdtemp(join(tmpdir(), 'fededge-start-'));
  await chmod(folder, 0o755);
  dataDir = join(folder, 'data');
  await mkdir(dataDir);
  programs = [];
});

afterEach(async () => {
  await Promise.all(programs.map((program) => program.stop()));
  await stopCluster(dataDir);
  await rm(folder, { recursive: true, force: true });
});

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

describe('a first start', () => {
  it('is ready, and leaves an operator key and an enrolment token that work', async () => {
    const program = start();
    const { url, operatorKeyFile, enrollmentToken } = await announced(program);
    expect(await statusOf(`${url}/readyz`)).toBe(200);
    const key = (await readFile(operatorKeyFile, 'utf8')).trim();
    expect(await statusOf(`${url}/v1/devices`)).toBe(401);
    expect(await statusOf(`${url}/v1/devices`, key)).toBe(200);
    const listed = await fetch(`${url}/v1/enrollment-tokens`, {
      headers: { authorization: `Bearer ${key}` },
    });
    const { items } = (await listed.json()) as { items: { maxUses: number; uses: number }[] };
    expect(items).toEqual([expect.objectContaining({ maxUses: 100, uses: 0 })]);
    expect(enrollmentToken).toMatch(/^fedenr_/);
  });

  it('keeps its secrets to its owner and out of the log', async () => {
    const program = start(['--json'], { FEDEDGE_LOG_LEVEL: 'trace' });
    const { url, operatorKeyFile, enrollmentToken } = await announced(program);
    const key = (await readFile(operatorKeyFile, 'utf8')).trim();
    await statusOf(`${url}/v1/devices`, key);
    await program.stop();
    for (const name of ['operator.key', 'token-keys.json']) {
      expect((await stat(join(dataDir, name))).mode & 0o077).toBe(0);
    }
    expect(program.output('stderr')).toContain('/v1/devices');
    expect(program.output('stderr')).not.toContain(key);
    expect(program.output('stderr')).not.toContain(enrollmentToken);
  });

  it('tells a person where everything is and what to do next', async () => {
    const program = start([]);
    await program.firstLine();
    await program.stop();
    const said = program.output('stdout');
    for (const part of [
      /http:\/\/127\.0\.0\.1:\d+\/docs/,
      join(dataDir, 'operator.key'),
      /fedenr_[\w-]{43}/,
      'npm run demo',
      /curl .*\/v1\/devices/,
    ]) {
      expect(said).toMatch(part);
    }
  });
});

describe('a later start', () => {
  it('shows no second token, and says how to make one', async () => {
    const first = start();
    await announced(first);
    await first.stop();
    const second = start([]);
    await second.firstLine();
    await second.stop();
    expect(second.output('stdout')).not.toMatch(/fedenr_/);
    expect(second.output('stdout')).toContain('/v1/enrollment-tokens');
  });

  it('uses the database of a server that was killed', async () => {
    const first = start();
    const { operatorKeyFile } = await announced(first);
    const database = await postmasterPid(dataDir);
    await first.kill9();
    const { url } = await announced(start());
    expect(await postmasterPid(dataDir)).toBe(database);
    const key = (await readFile(operatorKeyFile, 'utf8')).trim();
    expect(await statusOf(`${url}/v1/devices`, key)).toBe(200);
  });
});

describe('the end', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'by %s is in order: exit code 0, the database stopped',
    async (signal) => {
      const program = start();
      await announced(program);
      process.kill(program.pid, signal);
      expect(await program.ended).toEqual({ code: 0, signal: null });
      await expect(postmasterPid(dataDir)).rejects.toThrow();
    },
  );

  it('comes even during the start', async () => {
    const program = start();
    await waitForOwner();
    process.kill(program.pid, 'SIGTERM');
    expect((await program.ended).signal).toBeNull();
    const { url } = await announced(start());
    expect(await statusOf(`${url}/readyz`)).toBe(200);
  });
});

/** The data folder has an owner: the server is past reading its configuration. */
async function waitForOwner(): Promise<void> {
  while ((await readdir(join(dataDir, 'owner')).catch(() => [])).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe('a second server on a data folder', () => {
  it('ends and names the first, which goes on', async () => {
    const first = start();
    const { url } = await announced(first);
    const second = start();
    expect(await second.ended).toEqual({ code: 1, signal: null });
    expect(second.output('stderr')).toContain(`process ${first.pid}`);
    expect(await statusOf(`${url}/readyz`)).toBe(200);
  });

  it('loses when both are first starts at the same time', async () => {
    const both = [start(), start()];
    const lines = await Promise.all(both.map((program) => announced(program).catch(() => undefined)));
    const winner = lines.findIndex((line) => line !== undefined);
    const loser = both[1 - winner]!;
    expect(lines.filter((line) => line !== undefined)).toHaveLength(1);
    expect((await loser.ended).code).toBe(1);
    expect(loser.output('stderr')).toContain(`process ${both[winner]!.pid}`);
    expect(await statusOf(`${lines[winner]!.url}/readyz`)).toBe(200);
  });
});

describe('a start that cannot be', () => {
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
