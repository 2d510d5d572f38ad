import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { reportVersion } from '../../../api/services/releases/reports.ts';
import { sweepBlobs } from '../../../api/services/sweeper.ts';
import { createTestApp, type EnrolledDevice, jsonRequest, type TestApp } from '../../support/app.ts';
import { createTestModel, smallWeights } from '../../support/models.ts';
import {
  canaryCohorts as cohorts,
  createReleaseScene,
  accuracyGate as gate,
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

describe('a channel', () => {
  it('follows the head at once where nothing is to be waited for', async () => {
    await createTestModel(test, await test.operator(), 'head');
    catalog.set('models/head.yaml', { model: 'head', channel: 'head' });
    await catalog.reconcile();
    expect(await catalog.states('head')).toEqual(['waiting']);
    const upload = async (fill: number) =>
      test.app.request(
        '/v1/models/head/versions',
        rawRequest('POST', smallWeights(fill), await test.operator()),
      );
    expect(await catalog.current(catalog.other, 'head')).toBe('no_release');
    await upload(1);
    expect(await catalog.current(catalog.other, 'head')).toBe(1);
    await catalog.reconcile();
    await upload(2);
    expect(await catalog.current(catalog.other, 'head')).toBe(2);
    await catalog.reconcile();
    expect(await catalog.releases('head')).toMatchObject([{ state: 'complete', version: 2, previous: 1 }]);
  });

  it('with a gate takes one head after another, and the last good one is the one before', async () => {
    const { file } = await catalog.offer('gated');
    catalog.set(file, { model: 'gated', channel: 'head', cohorts, gate });
    await catalog.reconcile();
    expect(await catalog.currents('gated')).toEqual([2, 1]);
    const upload = rawRequest('POST', smallWeights(3), await test.operator());
    await test.app.request('/v1/models/gated/versions', upload);
    await catalog.reconcile();
    expect(await catalog.currents('gated')).toEqual([2, 1]);
    await catalog.report(catalog.canary, 'gated', 2, 0.95);
    await catalog.reconcile();
    expect(await catalog.currents('gated')).toEqual([3, 2]);
    await catalog.report(catalog.canary, 'gated', 3, 0.1);
    await catalog.reconcile();
    expect((await catalog.releases('gated')).at(-1)).toMatchObject({ state: 'paused', previous: 2 });
    expect(await catalog.currents('gated')).toEqual([2, 2]);
  });
});

describe('reports', () => {
  it('count once a device, the last one; those of a revoked or erased device do not', async () => {
    const { file, second } = await catalog.offer('counted', { gate: { ...gate, reports: 3 } });
    catalog.set(file, second);
    await catalog.reconcile();
    const labels = { site: 'lab' };
    const [one, two] = [
      await test.enrolDevice({ token: { labels } }),
      await test.enrolDevice({ token: { labels } }),
    ];
    const verdict = async () => (await catalog.releases('counted')).at(-1)!.verdict;
    await catalog.report(catalog.canary, 'counted', 2, 0.1);
    await catalog.report(catalog.canary, 'counted', 2, 0.9);
    await catalog.report(one!, 'counted', 2, 1);
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

it('numbers at the edge of what there is are judged, and names that cannot be kept are refused', async () => {
  const bound = { metric: 'loss', atMost: 1, reports: 2 };
  const { file, second } = await catalog.offer('edges', { gate: bound });
  catalog.set(file, second);
  await catalog.reconcile();
  const another = await test.enrolDevice({ token: { labels: { site: 'lab' } } });
  const send = async (device: EnrolledDevice, metrics: object, numExamples = 1) => {
    const request = jsonRequest('POST', { numExamples, metrics }, device.headers);
    return (await test.app.request('/v1/models/edges/versions/2/reports', request)).status;
  };
  for (const name of ['a\0', '\ud800']) expect(await send(another, { [name]: 1 })).toBe(400);
  expect(await send(another, { loss: 5e-324 })).toBe(200);
  expect(await send(catalog.canary, { loss: Number.MAX_VALUE }, 1e12)).toBe(200);
  await catalog.reconcile();
  expect((await catalog.releases('edges')).at(-1)).toMatchObject({
    state: 'paused',
    verdict: { reports: 2 },
  });
});

it('reports on versions that no release gives are forgotten in the end', async () => {
  const { file, second } = await catalog.offer('forgotten');
  catalog.set(file, second);
  await catalog.reconcile();
  await catalog.report(catalog.canary, 'forgotten', 2, 0.2);
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
