/** Named finite numbers: loss, accuracy, ... */
export type Metrics = Record<string, number>;

export const MAX_METRICS = 32;

/** Reads a metrics object; undefined if it is anything but a small object of finite numbers. */
export function readMetrics(value: unknown): Metrics | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value);
  if (entries.length > MAX_METRICS) return undefined;
  const sound = entries.every(
    ([name, number]) => name.length <= 64 && typeof number === 'number' && Number.isFinite(number),
  );
  return sound ? (value as Metrics) : undefined;
}

/** The mean of each metric over those who report it, weighted by their examples. */
export function averageMetrics(reports: readonly { metrics: Metrics; numExamples: number }[]): Metrics {
  const sums = new Map<string, { sum: number; weight: number }>();
  for (const { metrics, numExamples } of reports) {
    for (const [name, value] of Object.entries(metrics)) {
      const entry = sums.get(name) ?? { sum: 0, weight: 0 };
      sums.set(name, { sum: entry.sum + value * numExamples, weight: entry.weight + numExamples });
    }
  }
  return Object.fromEntries(
    [...sums].map(([name, { sum, weight }]) => [name, weight > 0 ? sum / weight : 0]),
  );
}
