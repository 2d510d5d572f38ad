/**
 * Root: the HTTP API. By default it brings its own database, in the data folder, and runs the worker loop too; with
 * DATABASE_URL any number of them may serve one federation.
 */
import './heap.ts';
import { join, resolve } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from './config.ts';
import type { Deps } from './deps.ts';
import type { LocalConnection, Ownership } from './store/local/local-database.ts';

const { DRAIN_MS, runProcess, StartError, untilAborted, untilDrained } = await import('./process.ts');
const { readCommandLine } = await import('./command-line.ts');
const { loadConfig } = await import('./config.ts');
const { keepCompiled } = await import('./compile-cache.ts');

await runProcess(async (stopping) => {
  const line = readCommandLine(process.argv.slice(2), process.env);
  if (line.kind === 'help') return console.log(line.text);
  const config = loadConfig(line.env);
  await serve({ ...config, dataDir: resolve(config.dataDir) }, line.json, stopping);
});

/** Serves until `stopping` aborts; then polls and the worker end, requests are drained and the database is stopped. */
async function serve(config: Config, asJson: boolean, stopping: AbortSignal): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const ownership = config.databaseUrl === undefined ? await acquire(config.dataDir) : undefined;
  resources.defer(() => ownership?.release());
  keepCompiled(config.dataDir);
  const [{ createLog }, { startTracing }, { version }] = await Promise.all([
    import('./logging.ts'),
    import('./tracing/exporter.ts'),
    import('./version.ts'),
  ]);
  const logFile = process.stdout.isTTY && !asJson ? join(config.dataDir, 'server.log') : undefined;
  const { log, flush } = createLog(config, logFile);
  resources.defer(flush);
  resources.defer(await startTracing(process.env, { name: 'fededge-server', version }));
  const [target, { openDeps }, { createApi }, { createEntrance }, { listen }, { runWorker }, { announce }] =
    await Promise.all([
      ownership ? startDatabase(ownership, log, resources) : config.databaseUrl!,
      import('./bootstrap.ts'),
      import('./http/app.ts'),
      import('./http/wire/entrance.ts'),
      import('./http/wire/listen.ts'),
      import('./services/worker.ts'),
      import('./announcement.ts'),
    ]);
  const { createMetrics } = await import('./metrics/metrics.ts');
  const { putEventLoopFirst } = await import('./thread-priority.ts');
  const { warningsOf } = await import('./warnings.ts');
  const entrance = createEntrance();
  const { url, close } = await listen(entrance, config, connectionLimits(config)).catch((error) =>
    explainListen(error, config),
  );
  resources.defer(() => close(DRAIN_MS));
  log.info({ url }, 'listening');
  const publicUrl = config.publicUrl ?? url;
  const metrics = createMetrics({ version, role: 'server' });
  const onWait = (schema: string) => entrance.explain({ schema });
  const opened = await openDeps({ config, log, stopping, target, publicUrl, metrics, onWait });
  resources.defer(opened.close);
  const { app, quick } = createApi(opened.deps);
  entrance.open({ fetch: app.fetch, quick });
  putEventLoopFirst();
  const stopped = untilAborted(stopping);
  const working = config.worker === 'embedded' ? runWorker(opened.deps, { signal: stopping }) : stopped;
  const watching = watchCatalogOf(config, opened.deps);
  for (const warning of warningsOf(config)) log.warn(warning);
  await announce(opened.deps, { url, logFile, asJson });
  await Promise.race([stopped, working]);
  log.info('stopping');
  await untilDrained([close(DRAIN_MS), working, watching]);
}

/** Releases and runs that lie in git: a run file is what POST /v1/runs takes. */
async function watchCatalogOf({ catalog }: Config, deps: Deps): Promise<void> {
  if (catalog === undefined) return;
  const [{ watchCatalog }, { readRun }] = await Promise.all([
    import('./services/releases/catalog-watch.ts'),
    import('./http/schemas/runs.ts'),
  ]);
  await watchCatalog(deps, { folder: resolve(catalog), readRun });
}

async function acquire(dataDir: string): Promise<Ownership> {
  return (await import('./store/local/local-database.ts')).acquireOwnership(dataDir);
}

async function startDatabase(
  ownership: Ownership,
  log: Logger,
  resources: AsyncDisposableStack,
): Promise<LocalConnection> {
  const { dataDir } = ownership;
  const { startLocalDatabase } = await import('./store/local/local-database.ts');
  const database = await startLocalDatabase({ dataDir, ownership, log: (message) => log.info(message) });
  resources.defer(() => database.stop());
  return database.connection;
}

/** Behind proxies all connections come from their addresses. */
function connectionLimits({ limits }: Config) {
  const { connections: most, connectionsPerAddress, trustedProxies } = limits;
  return { most, mostPerAddress: trustedProxies > 0 ? most : connectionsPerAddress };
}

function explainListen(error: NodeJS.ErrnoException, { host, port }: Config): never {
  const reasons: Record<string, string> = {
    EADDRINUSE: `port ${port} of ${host} is taken: choose another with --port (0 for any free one)`,
    EACCES: `port ${port} needs rights that this user lacks: choose one from 1024 on with --port`,
    EADDRNOTAVAIL: `${host} is no address of this machine: choose another with --host`,
    ENOTFOUND: `${host} is no address of this machine: choose another with --host`,
  };
  const reason = reasons[error.code ?? ''];
  throw reason ? new StartError(reason, { cause: error }) : error;
}
