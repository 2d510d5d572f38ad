import { collectDefaultMetrics, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { collectProcessMetrics } from '../../api/metrics/process-metrics.ts';

const namesIn = (registry: Registry) =>
  registry
    .getMetricsAsArray()
    .map(({ name }) => name)
    .sort();

it('tells all that prom-client tells of a process, but the pauses of the garbage collector', () => {
  const ours = new Registry();
  collectProcessMetrics(ours);
  const theirs = new Registry();
  collectDefaultMetrics({ register: theirs });
  expect(namesIn(ours)).toEqual(namesIn(theirs).filter((name) => name !== 'nodejs_gc_duration_seconds'));
});
