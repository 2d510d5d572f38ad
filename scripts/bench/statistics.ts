export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The smallest value that the share `part` of all values does not exceed; of an even count the median is the mean. */
export function percentile(values: readonly number[], part: number): number {
  if (values.length === 0) throw new Error('there is nothing to take a percentile of');
  const sorted = values.toSorted((a, b) => a - b);
  if (part === 0.5 && sorted.length % 2 === 0) {
    return (sorted[sorted.length / 2 - 1]! + sorted[sorted.length / 2]!) / 2;
  }
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)]!;
}

/** Runs every contender once a turn, in order, so that whatever slows the machine down slows all of them. */
export async function takeTurns<T>(
  turns: number,
  contenders: readonly { name: string; run(): Promise<T> }[],
): Promise<Map<string, T[]>> {
  const results = new Map<string, T[]>(contenders.map(({ name }) => [name, []]));
  for (let turn = 0; turn < turns; turn += 1) {
    for (const { name, run } of contenders) results.get(name)!.push(await run());
  }
  return results;
}
