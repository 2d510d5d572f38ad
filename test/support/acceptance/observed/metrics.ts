/** The samples of each metric, by its name; a histogram's parts are its samples. */
export type Samples = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** Reads Prometheus' text format. Every metric that is announced is in the answer, also one without samples. */
function parseMetrics(text: string): Samples {
  const metrics = new Map<string, Map<string, number>>();
  let current = new Map<string, number>();
  for (const line of text.split('\n')) {
    const announced = /^# TYPE (\S+)/.exec(line)?.[1];
    if (announced !== undefined) {
      current = new Map();
      metrics.set(announced, current);
    } else if (line !== '' && !line.startsWith('#')) {
      const [, series, value] = /^(.+) (\S+)$/.exec(line)!;
      current.set(series!, Number(value));
    }
  }
  return metrics;
}

export async function scrape(url: string): Promise<Samples> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return parseMetrics(await response.text());
}

/** Watches metrics until each has had two different values, none of which need be its first. */
export function watchMetrics() {
  const seen = new Map<string, Map<string, Set<number>>>();
  return {
    add(samples: Samples): void {
      for (const [name, series] of samples) {
        const known = seen.get(name) ?? new Map<string, Set<number>>();
        seen.set(name, known);
        for (const [key, value] of series) known.set(key, (known.get(key) ?? new Set<number>()).add(value));
      }
    },
    /** Metrics of which no series has been seen with two values. One that appears later counts once it changes. */
    unmoved: (): string[] =>
      [...seen]
        .filter(([, series]) => ![...series.values()].some((values) => values.size > 1))
        .map(([name]) => name)
        .sort(),
    /** Whether this series (`name{label="value"}`) was there with a value above zero. */
    wasPositive: (key: string): boolean =>
      [...seen.values()].some((series) => Math.max(0, ...(series.get(key) ?? [])) > 0),
  };
}
