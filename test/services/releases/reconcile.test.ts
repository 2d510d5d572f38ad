import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemPrincipal } from '../../../api/services/identity/actors.ts';
import { describeCatalog } from '../../../api/services/releases/catalog/catalogs.ts';
import { reconcileCatalog } from '../../../api/services/releases/reconcile.ts';
import { haltRelease } from '../../../api/services/releases/releases.ts';
import { reportVersion } from '../../../api/services/releases/reports.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { catalogLocks, whileAlone } from '../../../api/store/releases/catalog-locks.ts';
import { auditEntries, events } from '../../../api/store/schema.ts';
import { createTestApp, type EnrolledDevice, jsonRequest, type TestApp } from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import { createTestCatalog, createVersions } from '../../support/releases.ts';
import { rawRequest } from '../../support/tensor-files.ts';

let test: TestApp;
let catalog: ReturnType<typeof createTestCatalog>;
let canary: EnrolledDevice;
let other: EnrolledDevice;
beforeAll(async () => {
  test = await createTestApp();
  catalog = createTestCatalog(test);
  canary = await test.enrolDevice({ token: { labels: { site: 'lab' } } });
  other = await test.enrolDevice();
});
afterAll(() => test?.close());

const cohorts = [
  { name: 'canary', labels: { site: ['lab'] }, percent: [100] },
  { name: 'everyone', percent: [0, 100] },
];
const gate = { metric: 'accuracy', atLeast: 0.9, reports: 1 };
const states = async (model: string) => (await catalog.releases(model)).map(({ state }) => state);
const currents = (model: string) => Promise.all([canary, other].map((one) => catalog.current(one, model)));
const report = (device: EnrolledDevice, model: string, version: number, accuracy: number) =>
  test.app.request(
    `/v1/models/${model}/versions/${version}/reports`,
    jsonRequest('POST', { numExamples: 10, metrics: { accuracy } }, device.headers),
  );

/** Versions 1 and 2; the second is offered to the canary, and to the others at the second step. */
async function offer(model: string, document: object = {}) {
  const digests = await createVersions(test, model, 2);
  const file = `models/${model}.yaml`;
  const first = { model, version: 1, digest: digests[1]! };
  const second = { model, version: 2, digest: digests[2]!, previous: 1, cohorts, gate, ...document };
  catalog.set(file, first);
  await catalog.reconcile();
  return { file, first, second, digests };
}

describe('a release', () => {
  it('without gate and bake time is complete at once', async () => {
    await offer('plain');
    expect(await catalog.releases('plain')).toMatchObject([{ state: 'complete', version: 1, step: 0 }]);
    expect(await currents('plain')).toEqual([1, 1]);
  });

  it('goes step by step: the canary, its report, the bake time, everybody', async () => {
    const { file, second } = await offer('steps', { bakeSeconds: 60 });
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await currents('steps')).toEqual([2, 1]);
    test.clock.advance(61_000);
    await catalog.reconcile();
    expect((await catalog.releases('steps'))[1]).toMatchObject({
      state: 'rolling',
      step: 0,
      verdict: { verdict: 'open', reports: 0 },
    });
    expect((await report(canary, 'steps', 2, 0.95)).status).toBe(200);
    await catalog.reconcile();
    expect((await catalog.releases('steps'))[1]).toMatchObject({ state: 'rolling', step: 1 });
    expect(await currents('steps')).toEqual([2, 2]);
    await catalog.reconcile();
    expect(await states('steps')).toEqual(['superseded', 'rolling']);
    test.clock.advance(60_000);
    await catalog.reconcile();
    expect((await catalog.releases('steps'))[1]).toMatchObject({
      state: 'complete',
      verdict: { verdict: 'holds', value: 0.95, reports: 1 },
    });
  });

  it('pauses by itself when its gate fails, and the last content comes back by a revert', async () => {
    const { file, first, second } = await offer('bad');
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await currents('bad')).toEqual([2, 1]);
    await report(canary, 'bad', 2, 0.2);
    await catalog.reconcile();
    expect((await catalog.releases('bad'))[1]).toMatchObject({
      state: 'paused',
      reason: 'gate_failed: accuracy 0.2 is below 0.9, over 1 report',
    });
    expect(await currents('bad')).toEqual([1, 1]);
    catalog.set(file, first);
    await catalog.reconcile();
    expect(await states('bad')).toEqual(['complete', 'superseded']);
    expect(await currents('bad')).toEqual([1, 1]);
    // The bad content once more is what it was.
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await states('bad')).toEqual(['superseded', 'paused']);
    expect(await currents('bad')).toEqual([1, 1]);
    // Another content begins anew: reports before it do not count.
    catalog.set(file, { ...second, salt: 'again' });
    await catalog.reconcile();
    expect((await catalog.releases('bad'))[2]).toMatchObject({
      state: 'rolling',
      verdict: { verdict: 'open', reports: 0 },
    });
  });

  it('is left alone while its content is the same', async () => {
    const { file, second } = await offer('same');
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
    expect(await catalog.current(other, 'waits')).toBe('no_release');
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
    expect(await currents('first')).toEqual([1, 'no_release']);
    const weights = '/v1/models/first/versions/1/weights';
    const statusOf = async ({ headers }: EnrolledDevice) =>
      (await test.app.request(weights, { headers })).status;
    expect([await statusOf(canary), await statusOf(other)]).toEqual([200, 404]);
    expect((await report(other, 'first', 1, 1)).status).toBe(404);
  });

  it('falls back on what was given before, if its file names no other', async () => {
    const { file, second } = await offer('inherits', { previous: undefined });
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await currents('inherits')).toEqual([2, 1]);
    expect((await catalog.releases('inherits'))[1]).toMatchObject({ previous: 1 });
  });

  it('whose file is gone decides nothing any more', async () => {
    const { file } = await offer('gone');
    expect(await catalog.current(other, 'gone')).toBe(1);
    catalog.set(file, undefined);
    await catalog.reconcile();
    expect(await states('gone')).toEqual(['superseded']);
    expect(await catalog.current(other, 'gone')).toBe(2);
  });

  it('that an operator halts stays so until its content changes', async () => {
    const { file, second } = await offer('halts');
    catalog.set(file, second);
    await catalog.reconcile();
    const [, release] = await catalog.releases('halts');
    await haltRelease(test.deps, systemPrincipal, release!.id);
    await report(canary, 'halts', 2, 1);
    await catalog.reconcile();
    expect(await states('halts')).toEqual(['superseded', 'halted']);
    expect(await currents('halts')).toEqual([1, 1]);
    catalog.set(file, { ...second, salt: 'new' });
    await catalog.reconcile();
    expect(await states('halts')).toEqual(['superseded', 'superseded', 'rolling']);
    await expect(haltRelease(test.deps, systemPrincipal, release!.id)).rejects.toMatchObject({
      code: 'conflict',
    });
  });
});

describe('a channel', () => {
  it('follows the head at once where nothing is to be waited for', async () => {
    await createTestModel(test, await test.operator(), 'head');
    catalog.set('models/head.yaml', { model: 'head', channel: 'head' });
    await catalog.reconcile();
    expect(await states('head')).toEqual(['waiting']);
    const upload = async (fill: number) =>
      test.app.request(
        '/v1/models/head/versions',
        rawRequest('POST', smallWeights(fill), await test.operator()),
      );
    await upload(1);
    await catalog.reconcile();
    expect(await catalog.current(other, 'head')).toBe(1);
    await upload(2);
    expect(await catalog.current(other, 'head')).toBe(2);
    await catalog.reconcile();
    expect(await catalog.releases('head')).toMatchObject([{ state: 'complete', version: 2, previous: 1 }]);
  });

  it('with a gate takes one head after another, and the last good one is the one before', async () => {
    const { file } = await offer('gated');
    catalog.set(file, { model: 'gated', channel: 'head', cohorts, gate });
    await catalog.reconcile();
    expect(await currents('gated')).toEqual([2, 1]);
    const upload = rawRequest('POST', smallWeights(3), await test.operator());
    await test.app.request('/v1/models/gated/versions', upload);
    await catalog.reconcile();
    expect(await currents('gated')).toEqual([2, 1]);
    await report(canary, 'gated', 2, 0.95);
    await catalog.reconcile();
    expect(await currents('gated')).toEqual([3, 2]);
    await report(canary, 'gated', 3, 0.1);
    await catalog.reconcile();
    expect((await catalog.releases('gated')).at(-1)).toMatchObject({ state: 'paused', previous: 2 });
    expect(await currents('gated')).toEqual([2, 2]);
  });
});

describe('reports', () => {
  it('count once a device, the last one; those of a revoked or erased device do not', async () => {
    const { file, second } = await offer('counted', { gate: { ...gate, reports: 3 } });
    catalog.set(file, second);
    await catalog.reconcile();
    const labels = { site: 'lab' };
    const [one, two] = [
      await test.enrolDevice({ token: { labels } }),
      await test.enrolDevice({ token: { labels } }),
    ];
    const verdict = async () => (await catalog.releases('counted')).at(-1)!.verdict;
    await report(canary, 'counted', 2, 0.1);
    await report(canary, 'counted', 2, 0.9);
    await report(one!, 'counted', 2, 1);
    expect(await verdict()).toEqual({ verdict: 'open', value: 0.95, reports: 2 });
    const operator = await test.operator();
    await test.app.request(`/v1/devices/${one!.id}/revoke`, { method: 'POST', headers: operator });
    expect(await verdict()).toMatchObject({ value: 0.9, reports: 1 });
    const report2 = { numExamples: 1, metrics: { loss: 1 } };
    const device = { kind: 'device', id: two!.id, federationId: 'default', thumbprint: '' } as const;
    await reportVersion(test.deps, device, { model: 'counted', version: 2 }, report2);
    expect(await verdict()).toMatchObject({ reports: 1 });
    await expect(
      reportVersion(test.deps, device, { model: 'counted', version: 1 }, report2),
    ).rejects.toMatchObject({ code: 'not_found' });
  });
});

it('reports on versions that no release gives are forgotten in the end', async () => {
  const { file, second } = await offer('forgotten');
  catalog.set(file, second);
  await catalog.reconcile();
  await report(canary, 'forgotten', 2, 0.2);
  await catalog.reconcile();
  const later = {
    ...test.deps,
    clock: { now: () => new Date(test.clock.now().getTime() + 91 * 86_400_000) },
  };
  await sweepBlobs(later);
  expect((await catalog.releases('forgotten'))[1]!.verdict).toMatchObject({ reports: 1 });
  catalog.set(file, undefined);
  await catalog.reconcile();
  expect((await sweepBlobs(later)).reports).toBeGreaterThan(0);
  expect(await sweepBlobs(later)).toMatchObject({ reports: 0 });
});

describe('the reconcile', () => {
  const faults = async () => (await describeCatalog(test.deps, systemPrincipal)).faults;

  it('leaves what a faulty file is about as it is, and tells of it once', async () => {
    const { file, first, second } = await offer('faulty');
    catalog.set(file, 'model: faulty\nversion: [');
    await catalog.reconcile();
    await catalog.reconcile();
    expect(await states('faulty')).toEqual(['complete']);
    expect(await faults()).toEqual([{ file, message: expect.any(String) }]);
    catalog.set(file, second);
    await catalog.reconcile();
    expect(await faults()).toEqual([]);
    expect(await states('faulty')).toEqual(['superseded', 'rolling']);
    const told = await test.deps.db.pool.select().from(events).orderBy(events.id);
    const types = told.map(({ type }) => type).filter((type) => type.startsWith('catalog.'));
    expect(types).toEqual(['catalog.faulty', 'catalog.mended']);
    catalog.set(file, first);
  });

  it('of a catalog that cannot be read goes on with what is active', async () => {
    const { file, second } = await offer('unread');
    catalog.set(file, second);
    await catalog.reconcile();
    await report(canary, 'unread', 2, 0.1);
    const fault = { file: '.', message: 'the folder cannot be read (ENOENT)' };
    expect(await reconcileCatalog(test.deps, systemPrincipal, { faults: [fault] })).toBe(true);
    expect(await states('unread')).toEqual(['superseded', 'paused']);
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
