import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Ending, type Program, rememberCluster, startProgram, stopCluster } from './programs.ts';
import { createDatabase } from './surroundings/databases.ts';
import { waitUntil } from './waiting.ts';

type Environment = Record<string, string>;

/** One process of a service. It can be started again after it ended, as often as a test likes. */
export interface Member {
  readonly role: 'server' | 'api' | 'worker';
  /** Where it listens now; empty for a worker. */
  readonly url: string;
  /** Starts it and waits until it is ready. `extra` is for this start alone. */
  start(extra?: Environment): Promise<void>;
  /** As `kill -9`. */
  kill9(): Promise<void>;
  stop(): Promise<void>;
  /** Asks it to end in order, and waits for however long that takes. */
  terminate(): Promise<Ending>;
  /** As `kill -HUP`. */
  hangUp(): void;
  /** Stops it in the middle of whatever it does, until `thaw`: to others it is as good as dead. */
  freeze(): void;
  thaw(): void;
  /** Resolves when the process of the last start has ended, with the signal that ended it. */
  ended(): Promise<NodeJS.Signals | null>;
  isRunning(): boolean;
  /** The most memory that the process has held so far, in MB. Undefined where the system does not tell. */
  peakMemory(): number | undefined;
}

/** A running FedEdge: its processes, and what one has to know to talk to them. */
export interface Service {
  readonly members: readonly Member[];
  readonly dataDir: string;
  /** The name that devices sign for: it stays while ports change. */
  readonly publicUrl: string;
  readonly operatorKey: string;
  /** The URL of a member that serves; the next one at every call. */
  url(): string;
  /** What all of its processes have logged, those that were killed included. */
  logs(): string;
  /** Ends everything that was started, and removes the folder and the database. */
  close(): Promise<void>;
}

/** One process that brings its database. */
export async function startServer(env: Environment = {}): Promise<Service & { server: Member }> {
  return withServer(await createService(['server'], env));
}

/** One process on a PostgreSQL that others keep: the form of a single host. A fresh one unless `env` names one. */
export async function startHost(env: Environment = {}): Promise<Service & { server: Member }> {
  const database = env.DATABASE_URL === undefined ? await createDatabase() : undefined;
  return withServer(await createService(['server'], { ...env, ...database?.env }, database?.drop));
}

async function withServer(service: Service): Promise<Service & { server: Member }> {
  const [server] = service.members;
  await startAll(service);
  return { ...service, server: server! };
}

/**
 * API replicas and workers on one PostgreSQL, with one folder of blobs below `parent`. A fresh database unless `env` names
 * one.
 */
export async function startReplicas(
  counts: { api: number; workers: number },
  env: Environment = {},
  parent = tmpdir(),
): Promise<Service & { replicas: Member[]; workers: Member[] }> {
  const roles = [...Array(counts.api).fill('api'), ...Array(counts.workers).fill('worker')];
  const database = env.DATABASE_URL === undefined ? await createDatabase() : undefined;
  const service = await createService(roles, { ...env, ...database?.env }, database?.drop, parent);
  await startAll(service);
  const [replicas, workers] = (['api', 'worker'] as const).map((role) =>
    service.members.filter((member) => member.role === role),
  );
  return { ...service, replicas: replicas!, workers: workers! };
}

async function startAll(service: Service): Promise<void> {
  try {
    await Promise.all(service.members.map((member) => member.start()));
  } catch (error) {
    await service.close();
    throw error;
  }
}

async function createService(
  roles: readonly Member['role'][],
  env: Environment,
  dropDatabase?: () => Promise<void>,
  parent = tmpdir(),
): Promise<Service> {
  const dataDir = await mkdtemp(join(parent, 'fededge-acceptance-'));
  // Where we are root, the database runs as a user that has to pass.
  await chmod(dataDir, 0o755);
  const publicUrl = 'http://fededge.test';
  const operatorKey = `fedop_${randomBytes(32).toString('base64url')}`;
  const common = {
    FEDEDGE_DATA_DIR: dataDir,
    FEDEDGE_PORT: '0',
    FEDEDGE_PUBLIC_URL: publicUrl,
    FEDEDGE_OPERATOR_KEY: operatorKey,
    FEDEDGE_LEASE_MS: '500',
    ...env,
  };
  const programs: Program[] = [];
  const members = roles.map((role) => createMember(role, common, programs));
  const logs = () => programs.map((program) => program.output('stderr')).join('');
  let turn = 0;
  return {
    members,
    dataDir,
    publicUrl,
    operatorKey,
    url() {
      const serving = members.filter((member) => member.url !== '');
      turn += 1;
      return serving[turn % serving.length]?.url ?? 'http://127.0.0.1:9';
    },
    logs,
    async close() {
      await Promise.all(members.map((member) => member.stop()));
      // To look into a failure: SHOW_LOGS=1 npx vitest run ...
      if (process.env.SHOW_LOGS) console.error(logs());
      await stopCluster(dataDir);
      await dropDatabase?.();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

function createMember(role: Member['role'], common: Environment, programs: Program[]): Member {
  let program: Program | undefined;
  let url = '';
  const forget = () => {
    url = '';
  };
  return {
    role,
    get url() {
      return url;
    },
    async start(extra = {}) {
      if (!common.DATABASE_URL) rememberCluster(common.FEDEDGE_DATA_DIR!);
      const env = { ...common, ...(role === 'api' ? { FEDEDGE_WORKER: 'off' } : {}), ...extra };
      const started = startProgram(role === 'worker' ? ['api/worker.ts'] : ['api/server.ts', '--json'], env);
      program = started;
      programs.push(started);
      void started.ended.then(() => program === started && forget());
      if (role !== 'worker') url = await readyUrl(started);
    },
    async kill9() {
      forget();
      await program?.kill9();
    },
    async stop() {
      forget();
      await program?.stop();
    },
    async terminate() {
      forget();
      return program!.terminate();
    },
    hangUp: () => program?.hangUp(),
    freeze: () => program?.freeze(),
    thaw: () => program?.thaw(),
    ended: async () => (await program!.ended).signal,
    isRunning: () => url !== '',
    peakMemory: () => program?.peakMemory(),
  };
}

async function readyUrl(program: Program): Promise<string> {
  const { url } = JSON.parse(await program.firstLine()) as { url: string };
  let over = false;
  void program.ended.then(() => {
    over = true;
  });
  await waitUntil('the server is ready', async () => over || (await fetch(`${url}/readyz`)).ok);
  if (over) throw new Error('the server ended before it was ready');
  return url;
}
