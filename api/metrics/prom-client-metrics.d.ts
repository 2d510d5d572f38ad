/** The metrics that prom-client's `collectDefaultMetrics` is made of, each registered by itself. */
declare module 'prom-client/lib/metrics/*.js' {
  import type { Registry } from 'prom-client';

  const register: (registry: Registry, options: { eventLoopMonitoringPrecision: number }) => void;
  export default register;
}
