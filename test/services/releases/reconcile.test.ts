import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { describeCatalog } from '../../../api/services/releases/catalog/catalogs.ts';
import { reconcileCatalog } from '../../../api/services/releases/reconcile.ts';
import { haltRelease } from '../../../api/services/releases/releases.ts';
import { catalogLocks, whileAlone } from '../../../api/store/releases/catalog-locks.ts';
import { moveRelease, type ReleaseChange, type ReleaseRow } from '../../../api/store/releases/releases.ts';
import { auditEntries, events } from '../../../api/store/schema.ts';
import { createTestApp, type EnrolledDevice, type TestApp } from '../../support/app.ts';
import { smallWeights } from '../../support/models.ts';
import {
  canaryCohorts as cohorts,
  createReleaseScene,
  createVersions,
  type ReleaseScene,
} from '../../support/releases.ts';
import { rawRequest } from '../../support/tensor-files.ts';

let test: TestApp;
let catalog: ReleaseScene;
beforeAll(async () => {
  test = await createTestApp();
  catalog = await createReleaseScene(test);
});
afterAll(() => test?.close());

describe('a release', () => {
  it('without gate and bake time is complete at once', async () => {
    await catalog.offer('plain');
    expect(await catalog.releases('plain')).toMatchObject([{ state: 'complete', version: 1, step: 0 }]);
    expect(await catalog.currents('plain')).toEqual([1, 1]);
  });

  it('goes step by step: the canary, its report, the bake time, everybody', async () => {
    const { file, second } = await catalog.offer('steps', { bakeSeconds: 60 });
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await catalog.currents('steps')).toEqual([2, 1]);
    test.clock.advance(61_000);
    await catalog.reconcile();
    expect((await catalog.releases('steps'))[1]).toMatchObject({
      state: 'rolling',
      step: 0,
      verdict: { verdict: 'open', reports: 0 },
    });
    expect((await catalog.report(catalog.canary, 'steps', 2, 0.95)).status).toBe(200);
    await catalog.reconcile();
    expect((await catalog.releases('steps'))[1]).toMatchObject({ state: 'rolling', step: 1 });
    expect(await catalog.currents('steps')).toEqual([2, 2]);
    await catalog.reconcile();
    expect(await catalog.states('steps')).toEqual(['superseded', 'rolling']);
    test.clock.advance(60_000);
    await catalog.reconcile();
    expect((await catalog.releases('steps'))[1]).toMatchObject({
      state: 'complete',
      verdict: { verdict: 'holds', value: 0.95, reports: 1 },
    });
  });

  it('pauses by itself when its gate fails, and the last content comes back by a revert', async () => {
    const { file, first, second } = await catalog.offer('bad');
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await catalog.currents('bad')).toEqual([2, 1]);
    await catalog.report(catalog.canary, 'bad', 2, 0.2);
    await catalog.reconcile();
    expect((await catalog.releases('bad'))[1]).toMatchObject({
      state: 'paused',
      reason: 'gate_failed: accuracy 0.2 is below 0.9, over 1 report',
    });
    expect(await catalog.currents('bad')).toEqual([1, 1]);
    catalog.set(file, first);
    await catalog.reconcile();
    expect(await catalog.states('bad')).toEqual(['complete', 'superseded']);
    expect(await catalog.currents('bad')).toEqual([1, 1]);
    // The bad content once more is what it was.
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await catalog.states('bad')).toEqual(['superseded', 'paused']);
    expect(await catalog.currents('bad')).toEqual([1, 1]);
    // Another content begins anew: reports before it do not count.
    catalog.set(file, { ...second, salt: 'again' });
    await catalog.reconcile();
    expect((await catalog.releases('bad'))[2]).toMatchObject({
      state: 'rolling',
      verdict: { verdict: 'open', reports: 0 },
    });
  });

  it('is left alone while its content is the same', async () => {
    const { file, second } = await catalog.offer('same');
    catalog.set(file, second);
    await catalog.reconcile();
    const before = (await catalog.releases('same'))[1];
    const reordered = Object.fromEntries(Object.entries(second).reverse());
    catalog.set(file, reordered);
    test.clock.advance(1000);
    await catalog.reconcile();
    expect((await catalog.releases('same'))[1]).toEqual(before);
  });

  it('waits for the model, the version, its bytes and the version before', async () => {
    const wait = async (document: object) => {
      catalog.set('models/waits.yaml', { model: 'waits', ...document });
      await catalog.reconcile();
      return (await catalog.releases('waits')).at(-1)!;
    };
    const digest = `sha-256:${'0'.repeat(64)}`;
    expect(await wait({ version: 3, digest })).toMatchObject({ state: 'waiting', reason: 'no_model' });
    const digests = await createVersions(test, 'waits', 2);
    expect(await wait({ version: 3, digest })).toMatchObject({ reason: 'no_version' });
    expect(await wait({ version: 2, digest })).toMatchObject({
      reason: `digest_differs: version 2 has ${digests[2]!.slice(8)}`,
    });
    expect(await wait({ version: 2, digest: digests[2]!, previous: 9 })).toMatchObject({
      reason: 'no_previous',
    });
    expect(await catalog.current(catalog.other, 'waits')).toBe('no_release');
    const upload = rawRequest('POST', smallWeights(3), await test.operator());
    await test.app.request('/v1/models/waits/versions', upload);
    await createVersions(test, 'waits-2', 1);
    expect(await wait({ version: 2, digest: digests[2]!, previous: 3 })).toMatchObject({
      state: 'complete',
      reason: null,
    });
  });

  it('gives nothing to devices outside of its cohorts when there was no version before', async () => {
    const digests = await createVersions(test, 'first', 1);
    const document = { model: 'first', version: 1, digest: digests[1], cohorts: [cohorts[0]] };
    catalog.set('models/first.yaml', document);
    await catalog.reconcile();
    expect(await catalog.currents('first')).toEqual([1, 'no_release']);
    const weights = '/v1/models/first/versions/1/weights';
    const statusOf = async ({ headers }: EnrolledDevice) =>
      (await test.app.request(weights, { headers })).status;
    expect([await statusOf(catalog.canary), await statusOf(catalog.other)]).toEqual([200, 404]);
    expect((await catalog.report(catalog.other, 'first', 1, 1)).status).toBe(404);
  });

  it('falls back on what was given before, if its file names no other', async () => {
    const { file, second } = await catalog.offer('inherits', { previous: undefined });
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await catalog.currents('inherits')).toEqual([2, 1]);
    expect((await catalog.releases('inherits'))[1]).toMatchObject({ previous: 1 });
  });

  it('whose file is gone decides nothing any more', async () => {
    const { file } = await catalog.offer('gone');
    expect(await catalog.current(catalog.other, 'gone')).toBe(1);
    catalog.set(file, undefined);
    await catalog.reconcile();
    expect(await catalog.states('gone')).toEqual(['superseded']);
    expect(await catalog.current(catalog.other, 'gone')).toBe(2);
  });

  it('is halted also while a step is being taken', async () => {
    const { file, second } = await catalog.offer('race');
    catalog.set(file, second);
    await catalog.reconcile();
    const [, release] = await catalog.releases('race');
    let halting: Promise<unknown> | undefined;
    await test.deps.db.transaction(async (tx) => {
      await moveRelease(tx, release!, { step: 1 });
      halting = haltRelease(test.deps, systemPrincipal, release!.id);
      await expect
        .poll(async () => {
          const waits = sql`select 1 from pg_locks where not granted and locktype = 'transactionid'`;
          return (await test.deps.db.pool.execute(waits)).length;
        })
        .toBe(1);
    });
    expect(await halting).toMatchObject({ state: 'halted', step: 1 });
  });

  it('is not moved by what was decided before it left a step and came to it again', async () => {
    const { file, first, second } = await catalog.offer('again');
    const active = async () => (await catalog.releases('again')).find(({ state }) => state !== 'superseded')!;
    const set = async (document: object) => {
      catalog.set(file, document);
      await catalog.reconcile();
      return active();
    };
    const decide = (from: ReleaseRow, to: ReleaseChange) =>
      test.deps.db.transaction((tx) => moveRelease(tx, from, to));
    const stale = await set(second);
    await set(first);
    const rolling = await set(second);
    expect(rolling).toMatchObject({ id: stale.id, state: stale.state, step: stale.step });
    expect(await decide(stale, { step: 1 })).toBeUndefined();
    expect(await active()).toEqual(rolling);
    expect(await decide(rolling, { step: 1 })).toMatchObject({ state: 'rolling', step: 1 });

    // Nor one that waits, of which no instant tells one time from the other.
    const source = {
      ...second,
      version: undefined,
      source: { url: 'https://weights.example/none.safetensors' },
    };
    const missing = { ...source, digest: `sha-256:${'0'.repeat(64)}` };
    const before = await set(missing);
    await set(first);
    const waiting = await set(missing);
    expect(waiting).toMatchObject({ id: before.id, state: 'waiting', step: 0, stepSince: null });
    expect(await decide(before, { reason: 'import_failed' })).toBeUndefined();
    expect(await active()).toEqual(waiting);
  });

  it('that an operator halts stays so until its content changes', async () => {
    const { file, second } = await catalog.offer('halts');
    catalog.set(file, second);
    await catalog.reconcile();
    const [, release] = await catalog.releases('halts');
    await haltRelease(test.deps, systemPrincipal, release!.id);
    await catalog.report(catalog.canary, 'halts', 2, 1);
    await catalog.reconcile();
    expect(await catalog.states('halts')).toEqual(['superseded', 'halted']);
    expect(await catalog.currents('halts')).toEqual([1, 1]);
    catalog.set(file, { ...second, salt: 'new' });
    await catalog.reconcile();
    expect(await catalog.states('halts')).toEqual(['superseded', 'superseded', 'rolling']);
    await expect(haltRelease(test.deps, systemPrincipal, release!.id)).rejects.toMatchObject({
      code: 'conflict',
    });
  });
});

describe('the reconcile', () => {
  const faults = async () => (await describeCatalog(test.deps, systemPrincipal)).faults;

  it('leaves what a faulty file is about as it is, and tells of it once', async () => {
    const { file, first, second } = await catalog.offer('faulty');
    catalog.set(file, 'model: faulty\nversion: [');
    await catalog.reconcile();
    await catalog.reconcile();
    expect(await catalog.states('faulty')).toEqual(['complete']);
    expect(await faults()).toEqual([{ file, message: expect.any(String) }]);
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await faults()).toEqual([]);
    expect(await catalog.states('faulty')).toEqual(['superseded', 'rolling']);
    const told = await test.deps.db.pool.select().from(events).orderBy(events.id);
    const types = told.map(({ type }) => type).filter((type) => type.startsWith('catalog.'));
    expect(types).toEqual(['catalog.faulty', 'catalog.mended']);
    catalog.set(file, first);
  });

  it('of a catalog that cannot be read goes on with what is active', async () => {
    const { file, second } = await catalog.offer('unread');
    catalog.set(file, second);
    await catalog.reconcile();
    await catalog.report(catalog.canary, 'unread', 2, 0.1);
    const fault = { file: '.', message: 'the folder cannot be read (ENOENT)' };
    expect(await reconcileCatalog(test.deps, systemPrincipal, { faults: [fault] })).toBe(true);
    expect(await catalog.states('unread')).toEqual(['superseded', 'paused']);
    expect(await faults()).toEqual([fault]);
  });

  it('is done by one process at a time', async () => {
    const { deps } = await test.replica();
    const meanwhile = await whileAlone(deps.db, catalogLocks.reconcile, () => catalog.reconcile());
    expect(meanwhile).toBe(false);
    expect(await catalog.reconcile()).toBe(true);
  });

  it('writes each change into the audit log', async () => {
    const rows = await test.deps.db.pool.select().from(auditEntries).orderBy(auditEntries.id);
    const [, release] = await catalog.releases('bad');
    const of = rows.filter(({ target }) => target === `release:${release!.id}`);
    expect(of.map(({ action }) => action)).toEqual([
      'release.create',
      'release.roll',
      'release.pause',
      'release.supersede',
      'release.activate',
      'release.supersede',
    ]);
    expect(of[2]).toMatchObject({ actor: 'system', details: { model: 'bad', state: 'paused', version: 2 } });
  });
});
