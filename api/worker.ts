/** Root: the round clock, the aggregation, the scoring and the sweeper, without HTTP. Any number may run. */
import { resolve } from 'node:path';
import { openDeps } from './bootstrap.ts';
import { ConfigError, loadConfig } from './config.ts';
import { createLog } from './logging.ts';
import { runProcess } from './process.ts';
import { runWorker } from './services/worker.ts';

await runProcess(async (stopping) => {
  const config = loadConfig(process.env);
  const { databaseUrl: target, host, port } = config;
  if (target === undefined) {
    throw new ConfigError([
      'DATABASE_URL: a worker of its own needs it (a server on its own database runs the worker itself)',
    ]);
  }
  await using resources = new AsyncDisposableStack();
  const { log, flush } = createLog(config);
  resources.defer(flush);
  const { deps, close } = await openDeps({
    config: { ...config, dataDir: resolve(config.dataDir) },
    log,
    stopping,
    target,
    publicUrl: config.publicUrl ?? `http://${host}:${port}`,
  });
  resources.defer(close);
  log.info('working');
  await runWorker(deps, { signal: stopping });
});
