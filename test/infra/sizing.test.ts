import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Load, sizeOf } from '../../infra/sizing.ts';
import { replaceTable } from '../../infra/sizing-markdown.ts';

const readme = readFileSync(join(import.meta.dirname, '../../infra/README.md'), 'utf8');
const load: Load = {
  devices: 10_000,
  updatesPerHour: 10_000,
  parameters: 1e6,
  keepDays: 30,
  updatesPerRound: 500,
};
const loads = fc.record({
  devices: fc.integer({ min: 1, max: 1e6 }),
  updatesPerHour: fc.integer({ min: 1, max: 1e6 }),
  parameters: fc.integer({ min: 1000, max: 1e9 }),
  keepDays: fc.integer({ min: 1, max: 365 }),
  updatesPerRound: fc.integer({ min: 1, max: 10_000 }),
});

/** Everything of a size that has to grow with the load, as whole sums. */
function totals({ api, worker, database, blobsGb, trafficGbPerMonth }: ReturnType<typeof sizeOf>) {
  return {
    apiCores: api.replicas * api.cpu,
    workerCores: worker.replicas * worker.cpu,
    databaseCores: database.cpu,
    databaseGb: database.storageGb,
    blobsGb,
    traffic: trafficGbPerMonth.in,
  };
}

describe('sizing', () => {
  test('is in the README as it is computed', () => {
    expect(replaceTable(readme)).toBe(readme);
  });

  test('counts what goes over the line', () => {
    // 10,000 updates of 4 MB an hour, 730 hours.
    expect(sizeOf(load).trafficGbPerMonth).toEqual({ in: 29_200, out: 29_200 });
  });

  test('keeps versions, not updates: twice the updates of a round are half the versions', () => {
    const [few, many] = [sizeOf(load), sizeOf({ ...load, updatesPerRound: 250 })];
    // 20 versions an hour of 4 MB for 30 days, and two rounds of updates.
    expect(few.blobsGb).toBe(Math.ceil(20 * 24 * 30 * 0.004 + 2 * 500 * 0.004));
    expect(many.blobsGb).toBeGreaterThan(few.blobsGb);
  });

  test('has an API that can lose a pod, a worker, and connections for all of them', () => {
    fc.assert(
      fc.property(loads, (each) => {
        const { api, worker, database } = sizeOf(each);
        expect(api.replicas).toBeGreaterThanOrEqual(2);
        expect(worker.replicas).toBeGreaterThanOrEqual(1);
        expect(database.connections).toBe(16 * (api.replicas + worker.replicas));
      }),
    );
  });

  test('never shrinks when there is more to do', () => {
    fc.assert(
      fc.property(
        loads,
        fc.constantFrom('devices', 'updatesPerHour', 'parameters' as const),
        (each, more) => {
          const [small, large] = [totals(sizeOf(each)), totals(sizeOf({ ...each, [more]: 2 * each[more] }))];
          // A further pod rounds its share up anew: a quarter of a core each at most.
          const slack = 0.25 * (1 + sizeOf({ ...each, [more]: 2 * each[more] }).api.replicas);
          for (const part of Object.keys(small) as (keyof typeof small)[]) {
            expect(large[part]).toBeGreaterThanOrEqual(small[part] - slack);
          }
        },
      ),
    );
  });

  test('refuses a text without a place for the table', () => {
    expect(() => replaceTable('# FedEdge')).toThrow(/sizing/);
  });
});
