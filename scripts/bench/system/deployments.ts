import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import postgres from 'postgres';
import { type LocalConnection, startLocalDatabase } from '../../../api/store/local/local-database.ts';
import { databaseName, databaseUser, readPostmaster } from '../../../api/store/local/postmaster.ts';
import { createOperator, type Operator } from '../../../clients/typescript/index.ts';
import { type Program, startNode } from './programs.ts';
import { readStartLine } from './start-lines.ts';

const SERVER = readStartLine('start').args;
const WORKER = readStartLine('worker').args;
const PUBLIC_URL = 'http://fededge.bench';
/** What a benchmark does from one address, no single client does. */
const UNLIMITED = {
  FEDEDGE_LIMIT_ADDRESS: 'off',
  FEDEDGE_LIMIT_TOKENS: 'off',
  FEDEDGE_LIMIT_DEVICE: 'off',
  FEDEDGE_LIMIT_OPERATOR: 'off',
  FEDEDGE_MAX_CONNECTIONS: '1000000',
  FEDEDGE_MAX_CONNECTIONS_PER_ADDRESS: '1000000',
};

/** A running FedEdge with a folder of its own. */
export interface Deployment {
  readonly url: string;
  readonly publicUrl: string;
  readonly operator: Operator;
  /** The process that serves HTTP. */
  readonly server: Program;
  /** Undefined: the server runs it, or it is stopped. */
  readonly worker: Program | undefined;
  startWorker(): Promise<void>;
  stopWorker(): Promise<void>;
  /** A server without history on the same data. Its port is another one. */
  restartServer(): Promise<void>;
  /** By which another process finds the database that is not theirs; none where the server brings its own. */
  readonly database: Record<string, string>;
  /** A session with the database, for its statistics. */
  openDatabase(): Promise<postgres.Sql>;
  stop(): Promise<void>;
}

export interface DeploymentOptions {
  folder: string;
  openFiles?: number;
}

/** One process that brings its database: the form that `npm start` gives. */
export async function startEmbedded(options: DeploymentOptions): Promise<Deployment> {
  const dataDir = makeDataFolder(options.folder);
  const connect = async () => {
    const { socketFolder, port } = (await readPostmaster(join(dataDir, 'database', 'data')))!;
    return postgres({ host: socketFolder, port, user: databaseUser, database: databaseName, max: 1 });
  };
  return deploy(options, { dataDir, env: {}, database: {}, connect, close: async () => undefined });
}

/** An API without a worker, and a worker when it is started, on a PostgreSQL that is not theirs. */
export async function startSeparate(options: DeploymentOptions): Promise<Deployment> {
  const dataDir = makeDataFolder(options.folder);
  const database = await startLocalDatabase({ dataDir: makeDataFolder(options.folder) });
  const { connection } = database;
  const connect = async () => postgres({ ...connection, max: 1 });
  const base = { dataDir, env: { FEDEDGE_WORKER: 'off' }, database: environmentOf(connection) };
  const deployment = await deploy(options, { ...base, connect, close: () => database.stop() });
  await deployment.startWorker();
  return deployment;
}

function makeDataFolder(folder: string): string {
  const dataDir = mkdtempSync(join(folder, 'data-'));
  // Where we are root, the database runs as a user that has to pass.
  chmodSync(dataDir, 0o755);
  return dataDir;
}

/** A socket cannot stand in a URL, but in PGHOST. */
function environmentOf({ host, port, user, database }: LocalConnection): Record<string, string> {
  return { DATABASE_URL: `postgres:///${database}`, PGHOST: host, PGPORT: String(port), PGUSER: user };
}

interface Base {
  dataDir: string;
  env: Record<string, string>;
  database: Record<string, string>;
  connect(): Promise<postgres.Sql>;
  close(): Promise<void>;
}

async function deploy({ openFiles }: DeploymentOptions, base: Base): Promise<Deployment> {
  const { dataDir } = base;
  const key = `fedop_${randomBytes(32).toString('base64url')}`;
  const env = {
    ...UNLIMITED,
    FEDEDGE_DATA_DIR: dataDir,
    FEDEDGE_PORT: '0',
    FEDEDGE_PUBLIC_URL: PUBLIC_URL,
    FEDEDGE_OPERATOR_KEY: key,
    FEDEDGE_LOG_LEVEL: 'warn',
    ...base.env,
    ...base.database,
  };
  const logFile = join(dataDir, 'bench.log');
  mkdirSync(dataDir, { recursive: true });
  const startServer = async () => {
    const program = startNode([...SERVER, '--json'], { env, logFile, openFiles });
    const { url } = JSON.parse(await program.firstLine()) as { url: string };
    return { program, url, operator: createOperator({ url, key }) };
  };
  let server = await startServer();
  let worker: Program | undefined;
  const stopWorker = async () => {
    await worker?.stop();
    worker = undefined;
  };
  return {
    get url() {
      return server.url;
    },
    publicUrl: PUBLIC_URL,
    get operator() {
      return server.operator;
    },
    get server() {
      return server.program;
    },
    get worker() {
      return worker;
    },
    async startWorker() {
      worker ??= startNode(WORKER, { env, logFile });
    },
    stopWorker,
    async restartServer() {
      await server.program.stop();
      server = await startServer();
    },
    database: base.database,
    openDatabase: base.connect,
    async stop() {
      await Promise.all([server.program.stop(), stopWorker()]);
      await base.close();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
