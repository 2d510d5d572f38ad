import { Histogram, Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { createRequestTimes } from '../../api/metrics/request-times.ts';

const bounds = [0.001, 0.01, 1];
const described = { name: 'request_seconds', help: 'How long they took.' };

it('says what a histogram of prom-client says', async () => {
  const ours = new Registry();
  const theirs = new Registry();
  const times = createRequestTimes(ours, { ...described, bounds });
  const histogram = new Histogram({
    ...described,
    buckets: bounds,
    labelNames: ['operation', 'status'],
    registers: [theirs],
  });
  expect(await ours.metrics()).toBe(await theirs.metrics());
  const observed: [string, number, number][] = [
    ['fetch', 200, 0.0005],
    ['fetch', 206, 0.001],
    ['fetch', 304, 0.002],
    ['put', 503, 0.5],
    ['put', 503, 1],
    ['fetch', 299, 7],
  ];
  for (const [operation, status, seconds] of observed) {
    times.observe(operation, status, seconds);
    histogram.observe({ operation, status: `${String(status)[0]}xx` }, seconds);
  }
  expect(await ours.metrics()).toBe(await theirs.metrics());
  const json = async (registry: Registry) => JSON.parse(JSON.stringify(await registry.getMetricsAsJSON()))[0];
  const { values, ...rest } = await json(ours);
  const { values: expected, ...restExpected } = await json(theirs);
  expect(rest).toEqual(restExpected);
  expect(values).toHaveLength(expected.length);
  expect(values).toEqual(
    expect.arrayContaining(
      expected.map(({ exemplar: _, ...value }: object & { exemplar?: unknown }) => value),
    ),
  );
});

it('begins anew when its registry does', async () => {
  const registry = new Registry();
  const times = createRequestTimes(registry, { ...described, bounds });
  times.observe('fetch', 200, 1);
  registry.resetMetrics();
  expect((await times.get()).values).toEqual([]);
});
