/** Root: the round clock, the aggregation, the scoring and the sweeper, without HTTP. Any number may run. */
import './heap.ts';
import { resolve } from 'node:path';
import { openDeps } from './bootstrap.ts';
import { ConfigError, loadConfig } from './config.ts';
import { createLog } from './logging.ts';
import { createMetrics } from './metrics/metrics.ts';
import { serveMetrics } from './metrics/serve.ts';
import { runProcess } from './process.ts';
import { createMeasurements } from './services/measurements.ts';
import { runWorker } from './services/worker.ts';
import { startTracing } from './tracing/exporter.ts';
import { version } from './version.ts';

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
  resources.defer(await startTracing(process.env, { name: 'fededge-worker', version }));
  const { deps, close } = await openDeps({
    config: { ...config, dataDir: resolve(config.dataDir) },
    log,
    stopping,
    target,
    publicUrl: config.publicUrl ?? `http://${host}:${port}`,
    metrics: createMetrics({ version, role: 'worker' }),
  });
  resources.defer(close);
  if (config.metricsPort !== undefined) {
    const measured = await serveMetrics(createMeasurements(deps), { host, port: config.metricsPort });
    resources.defer(measured.close);
    log.info({ url: measured.url }, 'metrics');
  }
  log.info('working');
  await runWorker(deps, { signal: stopping });
});
