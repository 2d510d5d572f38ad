import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { describeCatalog } from '../../../api/services/releases/catalog/catalogs.ts';
import { createRun, listRuns, stopRun } from '../../../api/services/rounds/runs.ts';
import { events } from '../../../api/store/schema.ts';
import { createTestApp, type TestApp } from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { createTestCatalog, createVersions } from '../../support/releases.ts';
import { rawRequest } from '../../support/tensor-files.ts';

let test: TestApp;
let catalog: ReturnType<typeof createTestCatalog>;
let model: string;
let models = 0;
beforeAll(async () => {
  test = await createTestApp();
});
afterAll(() => test?.close());
beforeEach(async () => {
  models += 1;
  model = `m${models}`;
  test.clock.set(new Date('2026-01-31T12:00:00.000Z'));
  catalog = createTestCatalog(test);
  await createVersions(test, model, 1);
});

const runs = async () =>
  (await listRuns(test.deps, systemPrincipal, { filter: { model }, page: { limit: 50 } })).map(
    ({ name, state, settings }) => [name, state, settings.rounds],
  );
const runIds = async () =>
  (await listRuns(test.deps, systemPrincipal, { filter: { model }, page: { limit: 50 } })).map(
    ({ id }) => id,
  );
const faults = async () => (await describeCatalog(test.deps, systemPrincipal)).faults;
const waiting = async () => (await describeCatalog(test.deps, systemPrincipal)).waiting;
const minutes = (count: number) => test.clock.advance(count * 60_000);

describe('a run file', () => {
  it('makes one run, and leaves it alone', async () => {
    catalog.set('runs/one.yaml', { model, rounds: 3 });
    await catalog.reconcile();
    await catalog.reconcile();
    expect(await runs()).toEqual([['one', 'active', 3]]);
    const [id] = await runIds();
    await stopRun(test.deps, systemPrincipal, id!);
    await catalog.reconcile();
    expect(await runs()).toEqual([['one', 'stopped', 3]]);
  });

  it('with a new content stops the run of the one before; gone, it stops its run', async () => {
    catalog.set('runs/two.yaml', { model, rounds: 3 });
    await catalog.reconcile();
    catalog.set('runs/two.yaml', { model, rounds: 4 });
    await catalog.reconcile();
    expect(await runs()).toEqual([
      ['two', 'stopped', 3],
      ['two', 'active', 4],
    ]);
    catalog.set('runs/two.yaml', undefined);
    await catalog.reconcile();
    expect((await runs()).at(-1)).toEqual(['two', 'stopped', 4]);
    catalog.set('runs/two.yaml', { model, rounds: 3 });
    await catalog.reconcile();
    expect((await runs()).at(-1)).toEqual(['two', 'active', 3]);
  });

  it('that does not hold leaves its run as it is', async () => {
    catalog.set('runs/three.yaml', { model, rounds: 3 });
    await catalog.reconcile();
    catalog.set('runs/three.yaml', 'model: [');
    await catalog.reconcile();
    expect(await runs()).toEqual([['three', 'active', 3]]);
  });

  it('whose run cannot be is a fault of the catalog', async () => {
    catalog.set('runs/four.yaml', { model, quorum: 5, capacity: 2 });
    await catalog.reconcile();
    expect(await runs()).toEqual([]);
    expect(await faults()).toEqual([{ file: 'runs/four.yaml', message: 'quorum is greater than capacity' }]);
    catalog.set('runs/four.yaml', { model, quorum: 2, capacity: 2, rounds: 1 });
    await catalog.reconcile();
    expect(await faults()).toEqual([]);
    expect(await runs()).toEqual([['four', 'active', 1]]);
  });

  it('that cannot be written down keeps none from its turn', async () => {
    catalog.set('runs/a.yaml', `model: ${model}\nrounds: 1\nhyperparameters: { "\\0": 1 }\n`);
    catalog.set('runs/b.yaml', { model, rounds: 2, '\0\ud800': 1 });
    catalog.set('runs/c.yaml', { model, rounds: 3 });
    await catalog.reconcile().catch(() => undefined);
    expect(await runs()).toEqual([['c', 'active', 3]]);
    expect((await faults()).map(({ file }) => file)).toContain('runs/b.yaml');
  });

  it('waits for its model, and for the end of another run, which is no fault', async () => {
    const alarms = () => test.deps.db.pool.$count(events, eq(events.type, 'catalog.faulty'));
    const before = await alarms();
    catalog.set('runs/five.yaml', { model: `${model}-later`, rounds: 1 });
    await catalog.reconcile();
    const waitsFor = async (what: string) => {
      expect(await waiting()).toEqual([{ file: 'runs/five.yaml', message: `waits for ${what}` }]);
      expect(await faults()).toEqual([]);
    };
    await waitsFor(`the model ${model}-later, which is not there yet`);
    const settings = {
      strategy: { name: 'fedavg', parameters: {} },
      hyperparameters: {},
      selection: {},
      rounds: 9,
      quorum: 1,
      deadlineMs: 1000,
      pendingMs: 1000,
      presenceMs: 1000,
      maxFailedRounds: 1,
      retainUpdates: false,
    };
    model = `${model}-later`;
    await createTestModel(test, await test.operator(), model, []);
    await catalog.reconcile();
    await waitsFor(`the first version of ${model}`);
    const upload = rawRequest('POST', smallWeights(), await test.operator());
    await test.app.request(`/v1/models/${model}/versions`, upload);
    const other = await createRun(test.deps, systemPrincipal, { model, name: 'by hand', settings });
    await catalog.reconcile();
    expect(await runs()).toEqual([['by hand', 'active', 9]]);
    await waitsFor(`the end of another run of ${model}`);
    await stopRun(test.deps, systemPrincipal, other.id);
    await catalog.reconcile();
    expect((await runs()).at(-1)).toEqual(['five', 'active', 1]);
    expect(await waiting()).toEqual([]);
    expect(await alarms()).toBe(before);
  });
});

describe('a schedule', () => {
  const document = () => ({ model, rounds: 1, schedule: { cron: '0 14 * * *' } });

  it('makes a run at each due time, in UTC', async () => {
    catalog.set('runs/daily.yaml', document());
    await catalog.reconcile();
    minutes(119);
    await catalog.reconcile();
    expect(await runs()).toEqual([]);
    minutes(1);
    await catalog.reconcile();
    await catalog.reconcile();
    expect(await runs()).toEqual([['daily', 'active', 1]]);
    await stopRun(test.deps, systemPrincipal, (await runIds())[0]!);
    minutes(24 * 60 + 30);
    await catalog.reconcile();
    await catalog.reconcile();
    expect((await runs()).map(([, state]) => state)).toEqual(['stopped', 'active']);
  });

  it('leaves out a time at which a run is under way', async () => {
    catalog.set('runs/daily.yaml', document());
    await catalog.reconcile();
    minutes(120);
    await catalog.reconcile();
    minutes(24 * 60);
    await catalog.reconcile();
    expect(await runs()).toHaveLength(1);
    await stopRun(test.deps, systemPrincipal, (await runIds())[0]!);
    minutes(60);
    await catalog.reconcile();
    expect(await runs()).toHaveLength(1);
    minutes(23 * 60);
    await catalog.reconcile();
    expect(await runs()).toHaveLength(2);
  });

  it('that changes stops the run under way and waits for its own time', async () => {
    catalog.set('runs/daily.yaml', document());
    await catalog.reconcile();
    minutes(120);
    await catalog.reconcile();
    catalog.set('runs/daily.yaml', { ...document(), schedule: { cron: '0 16 * * *' } });
    await catalog.reconcile();
    expect(await runs()).toEqual([['daily', 'stopped', 1]]);
    minutes(120);
    await catalog.reconcile();
    expect(await runs()).toHaveLength(2);
  });

  it('is not kept by a clock that ran ahead and was set back', async () => {
    test.clock.set(new Date('2030-01-31T12:00:00.000Z'));
    catalog.set('runs/daily.yaml', document());
    await catalog.reconcile();
    test.clock.set(new Date('2026-01-31T12:00:00.000Z'));
    await catalog.reconcile();
    minutes(121);
    await catalog.reconcile();
    expect(await runs()).toHaveLength(1);
  });
});
