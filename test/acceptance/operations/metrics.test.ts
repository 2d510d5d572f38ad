import { afterAll, beforeAll, expect, it } from 'vitest';
import { createFederation, type Federation } from '../../support/acceptance/federations.ts';
import { scrape, watchMetrics } from '../../support/acceptance/observed/metrics.ts';
import { expectStatus, rawHeaders } from '../../support/acceptance/requests.ts';
import { type Service, startReplicas, startServer } from '../../support/acceptance/services.ts';
import {
  type CatalogFolder,
  createCatalogFolder,
} from '../../support/acceptance/surroundings/catalog-folders.ts';
import { frameFile, toF32Bytes } from '../../support/acceptance/tensor-files.ts';
import { waitFor, waitUntil } from '../../support/acceptance/waiting.ts';

/** What is told of a process and stays as it is while it runs. */
const constant = [
  'fededge_build_info',
  'fededge_database_connections_max',
  'nodejs_version_info',
  'process_max_fds',
  'process_start_time_seconds',
];
/** Label values that the work below brings about: one that moves proves nothing for the others of its metric. */
const labelled = [
  'admissions_total{admission="accepted"}',
  ...['folder', 'scoring', 'erasures', 'clock', 'journal', 'sweeper', 'catalog', 'imports'].map(
    (part) => `worker_passes_total{part="${part}",outcome="ok"}`,
  ),
  ...['check', 'sweep', 'create', 'write', 'read'].map(
    (operation) => `blob_operations_total{operation="${operation}",outcome="ok"}`,
  ),
  'blob_bytes_total{direction="written"}',
  'blob_bytes_total{direction="read"}',
  'http_request_seconds_count{operation="putUpdate",status="2xx"}',
  'http_request_seconds_count{operation="downloadWeights",status="2xx"}',
  'http_request_seconds_count{operation="getAssignment",status="2xx"}',
  'uploaded_bytes_total{operation="putUpdate"}',
  'rounds{kind="train",state="completed",outcome="published"}',
  'devices{state="active"}',
  'releases{state="waiting"}',
  'open_assignments{kind="train"}',
  'database_connections{state="idle"}',
].map((series) => `fededge_${series}`);
/** Node's own, which may rest for as long as a test runs. */
const restful = /^(nodejs|process)_/;

let catalog: CatalogFolder;
let service: Service;
let federation: Federation;
beforeAll(async () => {
  catalog = await createCatalogFolder();
  service = await startServer(catalog.env);
  federation = await createFederation(service, 4);
});
afterAll(async () => {
  await service?.close();
  await catalog?.close();
});

/** The layout of the federation's models is a layer of 32 inputs and 8 classes. */
async function createScoredModel(name: string): Promise<void> {
  const dense = {
    name: 'dense',
    units: 8,
    activation: 'softmax',
    batch_input_shape: [null, 32],
    trainable: true,
  };
  const topology = {
    class_name: 'Sequential',
    config: { name: 'model', layers: [{ class_name: 'Dense', config: dense }] },
  };
  const tensors = [
    { name: 'dense/kernel', shape: [32, 8] },
    { name: 'dense/bias', shape: [8] },
  ];
  const { operator } = federation;
  const architecture = { format: 'tfjs-layers', topology };
  await operator.post('/v1/models', { name, manifest: { tensors, architecture } });
  const x = { dtype: 'F32', shape: [8, 32], data_offsets: [0, 1024] };
  const y = { dtype: 'I32', shape: [8], data_offsets: [1024, 1056] };
  const set = frameFile(JSON.stringify({ x, y }), toF32Bytes(new Float32Array(256)), Buffer.alloc(32));
  const weights = frameFile(
    JSON.stringify({
      'dense/kernel': { dtype: 'F32', shape: [32, 8], data_offsets: [0, 1024] },
      'dense/bias': { dtype: 'F32', shape: [8], data_offsets: [1024, 1056] },
    }),
    toF32Bytes(new Float32Array(264)),
  );
  const paths = [
    ['PUT', `/v1/models/${name}/evaluation-set`, set],
    ['POST', `/v1/models/${name}/versions`, weights],
  ] as const;
  for (const [method, path, body] of paths) {
    expectStatus(await operator.request({ method, path, body, headers: rawHeaders(body) }), 200, 201);
  }
}

it('moves every metric that it has', async () => {
  const url = `${service.url()}/metrics`;
  const watch = watchMetrics();
  const look = async () => {
    const samples = await scrape(url);
    watch.add(samples);
    return samples;
  };
  await look();
  await federation.createModel('measured');
  await createScoredModel('scored');
  const work = federation.work();
  const run = await federation.startRun('measured', { rounds: 500 });
  // A device that holds on to its assignment, so that one is open whenever it is looked.
  const [holder] = await federation.enrol(1, { labels: { role: 'holder' } });
  const selection = { labels: { role: 'holder' } };
  const held = await federation.startRun('scored', {
    selection,
    quorum: 1,
    capacity: 1,
    deadlineMs: 120_000,
  });
  await waitUntil('it has one', async () => (await holder!.poll(1))?.run === held.id);
  const resting = () => watch.unmoved().filter((name) => !constant.includes(name) && !restful.test(name));
  let files = 0;
  await waitFor('all have moved', async () => {
    // An event that wakes no worker, so that it has an age.
    await federation.operator.post('/v1/enrollment-tokens', { name: 'more', maxUses: 1 });
    const samples = await look();
    // A release more whenever all are told.
    const told = samples.get('fededge_releases')?.get('fededge_releases{state="waiting"}') ?? 0;
    if (told === files) {
      files += 1;
      await catalog.write(`models/model-${files}.yaml`, { model: `model-${files}`, channel: 'head' });
      await catalog.write('models/faulty.yaml', {});
    }
    if (resting().length > 0) throw new Error(`these rest: ${resting()}`);
    return true;
  });
  expect(resting()).toEqual([]);
  await waitFor('each label value has been counted', async () => {
    await look();
    const missing = labelled.filter((series) => !watch.wasPositive(series));
    if (missing.length > 0) throw new Error(`these have not: ${missing}`);
    return true;
  });
  await federation.operator.post(`/v1/runs/${run.id}/stop`);
  await work.stop();
  for (const name of constant) expect([...(await scrape(url)).get(name)!.values()][0]).toBeGreaterThan(0);
});

it('names no device, run or model, so that its series are bounded', async () => {
  const text = await (await fetch(`${service.url()}/metrics`)).text();
  const names = [...federation.devices.map(({ id }) => id), 'measured', 'scored'];
  expect(names.filter((name) => text.includes(name))).toEqual([]);
  expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
  expect(text.split('\n').filter((line) => line.startsWith('fededge_')).length).toBeLessThan(1500);
});

it('is served by a worker that has a port for it', async () => {
  const replicas = await startReplicas({ api: 1, workers: 1 }, { FEDEDGE_METRICS_PORT: '0' });
  try {
    const found = () => /"url":"(http:[^"]+\/metrics)"/.exec(replicas.logs())?.[1];
    await waitUntil('the worker tells its port', () => found() !== undefined);
    const samples = await scrape(found()!);
    expect([...samples.get('fededge_build_info')!.keys()][0]).toContain('role="worker"');
    await waitUntil(
      'the journals are kept',
      async () =>
        ((await scrape(found()!))
          .get('fededge_worker_passes_total')
          ?.get('fededge_worker_passes_total{part="journal",outcome="ok"}') ?? 0) > 0,
    );
    expect((await fetch(found()!.replace('/metrics', '/v1/devices'))).status).toBe(404);
  } finally {
    await replicas.close();
  }
});
