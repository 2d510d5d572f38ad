import type { Environment } from '../environment.ts';

/** Where the Prometheus operator's Prometheus answers, for those who decide by our metrics. */
export function prometheusUrl({ settings }: Environment): string {
  const { monitoring } = settings.network;
  if (monitoring === undefined) throw new Error('network.monitoring: there is no Prometheus to ask');
  return `http://prometheus-operated.${monitoring}.svc:9090`;
}
