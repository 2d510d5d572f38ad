/** Root: the round clock, the aggregation, the scoring and the sweeper, without HTTP. Any number may run. */
import './heap.ts';
import { resolve } from 'node:path';

const { runProcess, untilAborted, untilDrained } = await import('./process.ts');
const { ConfigError, loadConfig } = await import('./config.ts');
const { keepCompiled } = await import('./compile-cache.ts');

await runProcess(async (stopping) => {
  const config = loadConfig(process.env);
  const { databaseUrl: target, host, port } = config;
  if (target === undefined) {
    throw new ConfigError([
      'DATABASE_URL: a worker of its own needs it (a server on its own database runs the worker itself)',
    ]);
  }
  keepCompiled(resolve(config.dataDir));
  const [
    { openDeps },
    { createLog },
    { createMetrics },
    { serveMetrics },
    { createMeasurements },
    { runWorker },
    { startTracing },
    { version },
  ] = await Promise.all([
    import('./bootstrap.ts'),
    import('./logging.ts'),
    import('./metrics/metrics.ts'),
    import('./metrics/serve.ts'),
    import('./services/measurements.ts'),
    import('./services/worker.ts'),
    import('./tracing/exporter.ts'),
    import('./version.ts'),
  ]);
  await using resources = new AsyncDisposableStack();
  const { log, flush } = createLog(config);
  resources.defer(flush);
  resources.defer(await startTracing(process.env, { name: 'fededge-worker', version }));
  const metrics = createMetrics({ version, role: 'worker' });
  const { registry } = metrics;
  let measure: () => Promise<{ text: string; type: string }> = async () => ({
    text: await registry.metrics(),
    type: registry.contentType,
  });
  if (config.metricsPort !== undefined) {
    // Before the database is there, so that whoever watches the process sees that it lives.
    const measured = await serveMetrics(() => measure(), { host, port: config.metricsPort });
    resources.defer(measured.close);
    log.info({ url: measured.url }, 'metrics');
  }
  const { deps, close } = await openDeps({
    config: { ...config, dataDir: resolve(config.dataDir) },
    log,
    stopping,
    target,
    publicUrl: config.publicUrl ?? `http://${host}:${port}`,
    metrics,
  });
  resources.defer(close);
  measure = createMeasurements(deps);
  log.info('working');
  const working = runWorker(deps, { signal: stopping });
  await Promise.race([untilAborted(stopping), working]);
  await untilDrained([working]);
});
