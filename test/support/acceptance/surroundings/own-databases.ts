import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import postgres from 'postgres';
import { postmasterPid, rememberCluster, stopCluster } from '../programs.ts';
import { waitUntil } from '../waiting.ts';

const owner = new URL('../../local-database-owner.ts', import.meta.url).pathname;

/** A PostgreSQL of a test's own, which it may treat as it likes. Whoever dies is started again, as an operator would. */
export interface OwnDatabase {
  /** The path of its Unix socket. */
  readonly socket: string;
  readonly user: string;
  readonly name: string;
  /** A session of somebody else's. */
  session(): postgres.Sql;
  /** Fast shutdown, and a start; resolves when it takes connections. */
  restart(): Promise<void>;
  /** `kill -9` of the server, and a start; resolves when it takes connections. */
  kill9(): Promise<void>;
  close(): Promise<void>;
}

export async function startOwnDatabase(settings: Record<string, string> = {}): Promise<OwnDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'fededge-own-'));
  // Where we are root, the database runs as a user that has to pass.
  await chmod(folder, 0o755);
  rememberCluster(folder);
  const child = spawn(process.execPath, [owner, folder, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const { connection } = JSON.parse(line) as { connection: { host: string; port: number; user: string } };
  const { host, port, user } = connection;
  const name = 'fededge';
  const session = () =>
    postgres({ host, port, user, database: name, max: 1, onnotice: () => {}, idle_timeout: 0 });

  async function signalAndWait(signal: NodeJS.Signals): Promise<void> {
    const pid = await postmasterPid(folder);
    process.kill(pid, signal);
    await waitUntil('PostgreSQL takes connections again', async () => {
      if ((await postmasterPid(folder)) === pid) return false;
      const sql = session();
      return sql`select 1`.then(() => true).finally(() => sql.end({ timeout: 1 }));
    });
  }

  return {
    socket: join(host, `.s.PGSQL.${port}`),
    user,
    name,
    session,
    restart: () => signalAndWait('SIGINT'),
    kill9: () => signalAndWait('SIGKILL'),
    async close() {
      child.stdin.end();
      await once(child, 'close');
      await stopCluster(folder);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The backends of FedEdge's own connections. */
export async function listBackends(sql: postgres.Sql): Promise<number[]> {
  const rows = await sql<{ pid: number }[]>`
    select pid from pg_stat_activity where application_name like 'fededge %'`;
  return rows.map(({ pid }) => pid);
}

/** Others' sessions, as many as there can be, until none of FedEdge's is left; `release` ends them. */
export async function takeAllConnections(database: OwnDatabase): Promise<{ release(): Promise<void> }> {
  const administrator = database.session();
  await administrator`select 1`;
  const sessions = [administrator];
  const takeFree = async () => {
    for (;;) {
      const session = database.session();
      const refused = await session`select 1`.then(
        () => false,
        () => true,
      );
      if (refused) return session.end({ timeout: 1 });
      sessions.push(session);
    }
  };
  await waitUntil('the others have all connections', async () => {
    const backends = await listBackends(administrator);
    await administrator`select pg_terminate_backend(pid) from unnest(${backends}::int[]) as pid`;
    await takeFree();
    return (await listBackends(administrator)).length === 0;
  });
  return { release: async () => void (await Promise.all(sessions.map((each) => each.end({ timeout: 1 })))) };
}
