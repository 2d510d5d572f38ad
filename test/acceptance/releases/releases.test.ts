import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../support/acceptance/devices.ts';
import { createFederation, type Federation, layout } from '../../support/acceptance/federations.ts';
import type { Run, Version } from '../../support/acceptance/operators.ts';
import { expectStatus, rawHeaders, sha256 } from '../../support/acceptance/requests.ts';
import { type Service, startServer } from '../../support/acceptance/services.ts';
import {
  type CatalogFolder,
  createCatalogFolder,
} from '../../support/acceptance/surroundings/catalog-folders.ts';
import { makeWeights } from '../../support/acceptance/updates.ts';
import { waitFor } from '../../support/acceptance/waiting.ts';

interface Release {
  id: string;
  model: string;
  state: string;
  reason: string | null;
  step: number;
  version: number | null;
  gate: { value: number | null; reports: number; holds: boolean } | null;
}

let catalog: CatalogFolder;
let service: Service;
let federation: Federation;
let canary: Device;
let other: Device;
beforeAll(async () => {
  catalog = await createCatalogFolder();
  service = await startServer(catalog.env);
  federation = await createFederation(service, 0);
  [canary] = (await federation.enrol(1, { labels: { site: 'lab' } })) as [Device];
  [other] = (await federation.enrol(1)) as [Device];
});
afterAll(async () => {
  await service?.close();
  await catalog?.close();
});

const file = 'models/digits.yaml';
const cohorts = [
  { name: 'canary', labels: { site: ['lab'] }, percent: [100] },
  { name: 'everyone', percent: [0, 100] },
];
const gate = { metric: 'accuracy', atLeast: 0.9, reports: 1 };

/** Uploads weights; the digest as a release file names it. */
async function upload(model: string, seed: number): Promise<{ version: number; digest: string }> {
  const body = makeWeights(layout, seed);
  const path = `/v1/models/${model}/versions`;
  const request = { method: 'POST', path, body, headers: rawHeaders(body) };
  const { version } = expectStatus<Version>(await federation.operator.request(request), 200, 201);
  return { version, digest: `sha-256:${sha256(body)}` };
}

const releases = (model: string) => federation.operator.list<Release>(`/v1/releases?model=${model}`);

/** Waits until the model's active release is in that state, then tells it. */
const settled = (model: string, state: string, about: Partial<Release> = {}) =>
  waitFor(`${model} is ${state}`, async () => {
    const active = (await releases(model)).find((release) => release.state !== 'superseded');
    const fits = Object.entries(about).every(([name, value]) => active?.[name as keyof Release] === value);
    return active?.state === state && fits ? active : undefined;
  });

async function current(device: Device, model: string): Promise<number> {
  const answer = await device.request({ method: 'GET', path: `/v1/models/${model}/current` });
  const { version, downloads } = expectStatus<Version>(answer, 200);
  const weights = await device.request({ method: 'GET', path: downloads[0]!.url });
  expect(sha256(weights.bytes)).toBe(downloads[0]!.digest);
  return version;
}
const currents = (model: string) => Promise.all([canary, other].map((one) => current(one, model)));

async function report(device: Device, model: string, version: number, accuracy: number): Promise<void> {
  const path = `/v1/models/${model}/versions/${version}/reports`;
  const json = { numExamples: 100, metrics: { accuracy } };
  expectStatus(await device.request({ method: 'POST', path, json }), 200);
}

describe('a release file', () => {
  it('rolls a version out by its canary, pauses a bad one, and a revert restores', async () => {
    await federation.createModel('digits');
    const first = { version: 1, digest: (await upload('digits', 1)).digest };
    const good = await upload('digits', 2);
    const bad = await upload('digits', 3);

    await catalog.write(file, { model: 'digits', ...first });
    await settled('digits', 'complete');
    expect(await currents('digits')).toEqual([1, 1]);

    const second = { model: 'digits', ...good, previous: 1, cohorts, gate };
    await catalog.write(file, second);
    expect(await settled('digits', 'rolling')).toMatchObject({ step: 0, gate: { reports: 0, holds: false } });
    expect(await currents('digits')).toEqual([2, 1]);
    await report(canary, 'digits', 2, 0.97);
    expect(await settled('digits', 'complete')).toMatchObject({
      version: 2,
      gate: { value: 0.97, holds: true },
    });
    expect(await currents('digits')).toEqual([2, 2]);

    await catalog.write(file, { ...second, ...bad, previous: 2 });
    await settled('digits', 'rolling', { version: 3 });
    expect(await currents('digits')).toEqual([3, 2]);
    await report(canary, 'digits', 3, 0.2);
    expect(await settled('digits', 'paused')).toMatchObject({
      reason: 'gate_failed: accuracy 0.2 is below 0.9, over 1 report',
    });
    expect(await currents('digits')).toEqual([2, 2]);

    await catalog.write(file, second);
    await settled('digits', 'complete', { version: 2 });
    expect(await currents('digits')).toEqual([2, 2]);
    expect((await releases('digits')).map(({ state, version }) => [state, version])).toEqual([
      ['superseded', 1],
      ['complete', 2],
      ['superseded', 3],
    ]);
  });

  it('that does not hold is told, and changes nothing', async () => {
    await catalog.write(file, 'model: digits\nversion: 3\ngate: {metric: accu');
    const faults = await waitFor('the fault is told', async () => {
      const told = await federation.operator.get<{ faults: { file: string }[] }>('/v1/catalog');
      return told.faults.length > 0 ? told.faults : undefined;
    });
    expect(faults).toMatchObject([{ file }]);
    await settled('digits', 'complete', { version: 2 });
  });

  it('goes on after a kill where it stood', async () => {
    await federation.createModel('survivor');
    const versions = [await upload('survivor', 1), await upload('survivor', 2)];
    const document = { model: 'survivor', ...versions[1], previous: 1, cohorts, gate };
    await catalog.write('models/survivor.yaml', document);
    const before = await settled('survivor', 'rolling');
    const [server] = service.members;
    await server!.kill9();
    await server!.start();
    await report(canary, 'survivor', 2, 1);
    expect(await settled('survivor', 'complete')).toMatchObject({ id: before.id, version: 2 });
  });
});

it('a channel gives the newest version to everybody', async () => {
  await federation.createModel('stream');
  await catalog.write('models/stream.yaml', 'model: stream\nchannel: head\n');
  await settled('stream', 'complete');
  expect(await currents('stream')).toEqual([1, 1]);
  await upload('stream', 2);
  expect(await currents('stream')).toEqual([2, 2]);
});

it('a version comes from a file elsewhere', async () => {
  await federation.createModel('imported');
  const body = makeWeights(layout, 9);
  const files = createServer((_request, response) => response.end(body)).listen(0, '127.0.0.1');
  await once(files, 'listening');
  const url = `http://127.0.0.1:${(files.address() as AddressInfo).port}/weights.safetensors`;
  const document = { model: 'imported', source: { url }, digest: `sha-256:${sha256(body)}` };
  await catalog.write('models/imported.yaml', document);
  expect(await settled('imported', 'complete')).toMatchObject({ version: 2 });
  files.close();
  expect(await currents('imported')).toEqual([2, 2]);
});

it('a run file trains a model; gone, it stops its run', async () => {
  await federation.createModel('trained');
  const settings = { rounds: 500, quorum: 2, deadlineMs: 10_000, pendingMs: 10_000 };
  await catalog.write('runs/nightly.yaml', { model: 'trained', ...settings });
  const find = async () => (await federation.operator.list<Run>('/v1/runs?model=trained'))[0];
  const run = await waitFor('the run is there', find);
  expect(run).toMatchObject({ name: 'nightly', state: 'active' });
  const work = federation.work();
  await waitFor('it publishes', async () => (await federation.run(run.id)).completedRounds > 0 || undefined);
  await catalog.remove('runs/nightly.yaml');
  expect(await federation.finish(run.id)).toMatchObject({ state: 'stopped' });
  await work.stop();
});
