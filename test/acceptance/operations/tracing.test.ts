import { afterEach, expect, it } from 'vitest';
import { createFederation } from '../../support/acceptance/federations.ts';
import { rawHeaders } from '../../support/acceptance/requests.ts';
import { type Service, startReplicas } from '../../support/acceptance/services.ts';
import { type SentSpan, startOtlpSink } from '../../support/acceptance/surroundings/otlp-sink.ts';
import { waitUntil } from '../../support/acceptance/waiting.ts';

let service: Service | undefined;
let sink: Awaited<ReturnType<typeof startOtlpSink>>;
afterEach(async () => {
  await service?.close();
  await sink?.close();
});

it('shows a round in one trace, across API, worker and devices', async () => {
  sink = await startOtlpSink();
  service = await startReplicas(
    { api: 1, workers: 1 },
    { OTEL_EXPORTER_OTLP_ENDPOINT: sink.url, OTEL_BSP_SCHEDULE_DELAY: '100' },
  );
  const federation = await createFederation(service, 2);
  await federation.createModel('traced');
  const run = await federation.startRun('traced', { rounds: 1, quorum: 2, capacity: 2, deadlineMs: 60_000 });
  const [one, other] = await federation.invitedTo(run.id, 2);
  const traceId = one!.assignment.round.replaceAll('-', '');
  const { traceparent } = one!.assignment as { traceparent?: string };
  expect(traceparent).toBe(`00-${traceId}-${traceId.slice(16)}-01`);
  // One device passes it on, the other knows nothing of traces.
  const { file } = await federation.train(one!.assignment);
  const headers = { ...rawHeaders(file), traceparent: traceparent! };
  const path = one!.assignment.update!.url;
  expect((await one!.device.request({ method: 'PUT', path, body: file, headers })).status).toBe(201);
  await federation.contribute(other!.device, other!.assignment);
  await federation.finish(run.id);
  const ofRound = () => sink.spans.filter((span) => span.traceId === traceId);
  const names = (spans: SentSpan[]) => spans.map(({ service: from, name }) => `${from} ${name}`).sort();
  await waitUntil('all spans are there', () => ofRound().some(({ name }) => name === 'publish'));
  expect(names(ofRound())).toEqual([
    'fededge-server intake',
    'fededge-server intake',
    'fededge-server putUpdate',
    'fededge-worker fold',
    'fededge-worker fold',
    'fededge-worker publish',
  ]);
  const request = ofRound().find(({ name }) => name === 'putUpdate')!;
  const intakes = ofRound().filter(({ name }) => name === 'intake');
  expect(intakes.map(({ parentSpanId }) => parentSpanId).sort()).toEqual(
    [request.spanId, traceId.slice(16)].sort(),
  );
  expect(sink.spans.some(({ name }) => name === 'getAssignment')).toBe(true);
});

it('says nothing of traces where nobody has asked for them', async () => {
  sink = await startOtlpSink();
  service = await startReplicas({ api: 1, workers: 1 });
  const federation = await createFederation(service, 2);
  await federation.createModel('plain');
  const run = await federation.startRun('plain', { rounds: 1 });
  const [invited] = await federation.invitedTo(run.id, 2);
  expect(invited!.assignment).not.toHaveProperty('traceparent');
});
