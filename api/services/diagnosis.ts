import { access, mkdir, readFile, statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import type { Config } from '../config.ts';
import type { BlobStore } from '../store/blobs/blob-store.ts';
import { locatePackage } from '../store/local/binaries.ts';
import { examineTarget } from '../store/requirements.ts';
import { operatorKeyFile } from './identity/federation.ts';
import { operatorKeyPattern } from './identity/secrets.ts';
import { loadTokenKeys, tokenKeysFile } from './identity/token-keys.ts';
import { createCatalogReader } from './releases/catalog/catalog-folder.ts';

export interface Finding {
  check: string;
  /** A server does not start with a `fault`. */
  state: 'ok' | 'warning' | 'fault';
  message: string;
}

interface Subject {
  config: Config;
  blobs: Pick<BlobStore, 'check'>;
}

const SKEW_MS = 5000;
const LOW_BYTES = 2e9;
const LEAST_BYTES = 1e8;
const PROBE_MS = 3000;

type Check = (subject: Subject) => Promise<Omit<Finding, 'check'>>;

const checks: Record<string, Check> = {
  'data folder': checkDataFolder,
  'disk space': checkDisk,
  database: checkDatabase,
  blobs: checkBlobs,
  'token keys': checkTokenKeys,
  'operator key': checkOperatorKey,
  'public URL': checkPublicUrl,
  catalog: checkCatalog,
  port: checkPort,
};

const ok = (message: string) => ({ state: 'ok' as const, message });
const warning = (message: string) => ({ state: 'warning' as const, message });
const fault = (message: string) => ({ state: 'fault' as const, message });

/** Looks at everything that a server needs, and names every fault at once. It leaves nothing but folders behind. */
export async function diagnose(subject: Subject, skip: readonly string[] = []): Promise<Finding[]> {
  const wanted = Object.entries(checks).filter(([name]) => !skip.includes(name));
  return Promise.all(
    wanted.map(async ([check, run]) => {
      const found = await run(subject).catch((error: Error) => fault(messageOf(error)));
      return { check, ...found };
    }),
  );
}

async function checkDataFolder({ config: { dataDir } }: Subject) {
  await mkdir(dataDir, { recursive: true });
  await access(dataDir, 6);
  return ok(dataDir);
}

async function checkDisk({ config: { dataDir } }: Subject) {
  await mkdir(dataDir, { recursive: true });
  const { bavail, bsize } = await statfs(dataDir);
  const free = bavail * bsize;
  const message = `${(free / 1e9).toFixed(1)} GB are free below ${dataDir}`;
  if (free < LEAST_BYTES) return fault(message);
  return free < LOW_BYTES ? warning(message) : ok(message);
}

async function checkDatabase({ config }: Subject) {
  if (config.databaseUrl === undefined) {
    const { version } = await locatePackage();
    return ok(`the embedded PostgreSQL ${version}`);
  }
  const use = { migrates: config.migrate === 'on' };
  const facts = await examineTarget(config.databaseUrl, use).catch((error: Error) => {
    throw new Error(`DATABASE_URL cannot be used: ${messageOf(error)}`, { cause: error });
  });
  if (facts.faults.length > 0) return fault(facts.faults.join('; '));
  if (Math.abs(facts.skewMs) > SKEW_MS) {
    const seconds = Math.round(facts.skewMs / 1000);
    return warning(`its clock is ${seconds} s ahead of this machine's: FedEdge goes by the database's`);
  }
  if (facts.maxConnections < config.databaseConnections + 3) {
    return warning(
      `it allows ${facts.maxConnections} connections; one process opens ${config.databaseConnections} (FEDEDGE_DATABASE_CONNECTIONS)`,
    );
  }
  return ok(`PostgreSQL ${facts.version}`);
}

async function checkBlobs({ config, blobs }: Subject) {
  await blobs.check();
  return ok(config.s3 ? config.s3.url : `files in ${join(config.dataDir, 'blobs')}`);
}

async function checkTokenKeys({ config }: Subject) {
  const source = { dataDir: config.dataDir, file: config.tokenKeysFile };
  const path = tokenKeysFile(source);
  const isThere = await access(path).then(
    () => true,
    () => false,
  );
  if (!isThere && source.file === undefined) return ok('will be made at the first start');
  if (!isThere) return fault(`FEDEDGE_TOKEN_KEYS: there is no ${path}`);
  const { verifying } = await loadTokenKeys({ ...source, file: path });
  return ok(`${verifying.size} in ${path}`);
}

async function checkOperatorKey({ config }: Subject) {
  if (config.operatorKey !== undefined) return ok('as it was given (FEDEDGE_OPERATOR_KEY)');
  const path = operatorKeyFile(config.dataDir);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return ok('none in the data folder; the first start makes one');
  return operatorKeyPattern.test(text.trim())
    ? ok(`in ${path}`)
    : fault(`${path} does not hold an operator key`);
}

async function checkPublicUrl({ config: { publicUrl, host } }: Subject) {
  const isLocal = (name: string) => ['127.0.0.1', '::1', '[::1]', 'localhost'].includes(name);
  if (publicUrl === undefined) {
    if (isLocal(host)) return ok(`devices on this machine alone (${host})`);
    return warning('devices on other machines are refused until FEDEDGE_PUBLIC_URL is the URL that they use');
  }
  const { protocol, hostname } = new URL(publicUrl);
  if (protocol === 'http:' && !isLocal(hostname)) return warning(`${publicUrl} is not encrypted`);
  return ok(publicUrl);
}

/** A server starts without it: what is active goes on. */
async function checkCatalog({ config: { catalog } }: Subject) {
  if (catalog === undefined) return ok('none: releases and runs are not read from files');
  try {
    const texts = await createCatalogReader(resolve(catalog))();
    return ok(`${texts.length} ${texts.length === 1 ? 'file' : 'files'} in ${catalog}`);
  } catch (error) {
    return warning(`FEDEDGE_CATALOG: ${catalog}: ${messageOf(error as Error)}`);
  }
}

async function checkPort({ config: { host, port } }: Subject) {
  const refusal = await tryListen(host, port);
  if (refusal === undefined) return ok(port === 0 ? 'any free one' : `${host}:${port} is free`);
  if (refusal === 'EADDRINUSE' && (await isFedEdge(host, port)))
    return ok(`FedEdge listens at ${host}:${port}`);
  return fault(`cannot listen at ${host}:${port} (${refusal}): choose another FEDEDGE_HOST or FEDEDGE_PORT`);
}

function tryListen(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code ?? 'unknown'));
    server.listen(port, host, () => server.close(() => resolve(undefined)));
  });
}

async function isFedEdge(host: string, port: number): Promise<boolean> {
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${port}/livez`;
  const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_MS) }).catch(() => undefined);
  const answer = (await response?.json().catch(() => undefined)) as { status?: unknown } | undefined;
  return answer?.status === 'alive';
}

/** Some errors of the driver say what they are by their code alone, others by what caused them. */
function messageOf(error: Error): string {
  const { code } = error as { code?: unknown };
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return (error.message || String(code)) + cause;
}
