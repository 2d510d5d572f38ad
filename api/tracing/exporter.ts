import { setTimeout as sleep } from 'node:timers/promises';

/** For the spans of a process that ends. */
const LAST_EXPORT_MS = 2_000;

/**
 * Begins to send traces by OTLP over HTTP if OTEL_EXPORTER_OTLP_ENDPOINT (or the one for traces alone) is set; the other
 * OTEL_* variables are the SDK's. Its packages, which are optional, are loaded only then. Answers what sends the rest and
 * ends it.
 */
export async function startTracing(
  env: Record<string, string | undefined>,
  { name, version }: { name: string; version: string },
): Promise<() => Promise<void>> {
  if (!env.OTEL_EXPORTER_OTLP_ENDPOINT && !env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return async () => {};
  const [{ BatchSpanProcessor, NodeTracerProvider }, { OTLPTraceExporter }, { resourceFromAttributes }] =
    await Promise.all([
      import('@opentelemetry/sdk-trace-node'),
      import('@opentelemetry/exporter-trace-otlp-http'),
      import('@opentelemetry/resources'),
    ]);
  const provider = new NodeTracerProvider({
    resource: resourceFromAttributes({
      'service.name': env.OTEL_SERVICE_NAME ?? name,
      'service.version': version,
    }),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  // A collector that is away, or takes spans and says nothing, must not keep a process from ending.
  return () =>
    Promise.race([
      provider.shutdown().catch(() => undefined),
      sleep(LAST_EXPORT_MS, undefined, { ref: false }),
    ]);
}
