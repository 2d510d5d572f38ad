/** Named finite numbers: loss, accuracy, ... */
export type Metrics = Record<string, number>;

export const MAX_METRICS = 32;

/** What PostgreSQL does not keep in JSON, and what forges lines of a log. */
const UNKEEPABLE = /[\p{Cc}\p{Cs}]/u;

/** Reads a metrics object; undefined if it is anything but a small object of finite numbers. */
export function readMetrics(value: unknown): Metrics | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const entries = Object.entries(value);
  if (entries.length > MAX_METRICS) return undefined;
  const sound = entries.every(
    ([name, number]) =>
      name.length <= 64 && !UNKEEPABLE.test(name) && typeof number === 'number' && Number.isFinite(number),
  );
  return sound ? (value as Metrics) : undefined;
}

/**
 * The mean of each metric over those who report it, weighted by their examples. Of more than 32 different ones, those
 * that most report.
 */
export function averageMetrics(reports: readonly { metrics: Metrics; numExamples: number }[]): Metrics {
  const totals = new Map<string, { reports: number; examples: number }>();
  for (const { metrics, numExamples } of reports) {
    for (const name of Object.keys(metrics)) {
      const total = totals.get(name) ?? { reports: 0, examples: 0 };
      totals.set(name, { reports: total.reports + 1, examples: total.examples + numExamples });
    }
  }
  const common = [...totals].sort(([, a], [, b]) => b.reports - a.reports).slice(0, MAX_METRICS);
  return Object.fromEntries(
    common
      .map(([name, { examples }]) => [name, meanOf(reports, name, examples)] as const)
      .filter(([, mean]) => Number.isFinite(mean)),
  );
}

/** Shares are taken before the sum: a sum of sound values could overflow. */
function meanOf(
  reports: readonly { metrics: Metrics; numExamples: number }[],
  name: string,
  examples: number,
): number {
  return reports.reduce(
    (sum, { metrics, numExamples }) =>
      Object.hasOwn(metrics, name) ? sum + metrics[name]! * (numExamples / examples) : sum,
    0,
  );
}
