import { createHash } from 'node:crypto';
import { beforeEach, expect, it } from 'vitest';
import type { Session } from '../../../../clients/typescript/device/session.ts';
import { createApi, settle } from '../../../../clients/typescript/http/calls.ts';
import { createMemoryStore } from '../../../../clients/typescript/index.ts';
import { createVersionReports } from '../../../../clients/typescript/program/version-reports.ts';
import { encodeWeights } from '../../../../clients/typescript/tensors/weights.ts';

const HOUR_MS = 3_600_000;
const weights = encodeWeights(new Map([['w', { shape: [1], values: new Float32Array([1]) }]]));
const download = {
  role: 'weights',
  url: '/v1/models/m/versions/1/weights',
  digest: createHash('sha256').update(weights).digest('hex'),
  bytes: weights.length,
};

let now: number;
let etag: string;
let version: number;
let measured: number;
let metrics: Record<string, number>;
let sent: unknown[];
let reportVersions: () => Promise<void>;

beforeEach(() => {
  [now, etag, version, measured, metrics, sent] = [0, '"a"', 1, 0, { accuracy: 0.5 }, []];
  const { signal } = new AbortController();
  const answer = async (request: Request) => {
    const { pathname } = new URL(request.url);
    if (pathname.endsWith('/weights')) return new Response(weights);
    if (pathname.endsWith('/reports')) sent.push([pathname.split('/')[5], await request.json()]);
    const current = { model: 'm', version, downloads: [download] };
    return Response.json(pathname.endsWith('/current') ? current : {}, { headers: { etag } });
  };
  const session: Partial<Session> = {
    api: createApi({
      url: 'http://server',
      auth: () => 'token',
      fetch: (request) => answer(request as Request),
    }),
    signal,
    store: createMemoryStore(),
    timing: { now: () => now, random: () => 0, sleep: async () => undefined },
    call: (make) => settle(make(signal), signal),
    insist: (make) => settle(make(signal), signal),
    persist: (work) => work(),
  };
  const evaluate = async () => {
    measured += 1;
    return { numExamples: 3, metrics };
  };
  const log = {
    info: () => undefined,
    warn: (facts: object) => {
      throw (facts as { err: Error }).err;
    },
  };
  const models = async () => ['m'];
  reportVersions = createVersionReports({ session: session as Session, trainer: { evaluate }, models, log });
});

it('reports once, and again when another release comes to the version', async () => {
  await reportVersions();
  await reportVersions();
  expect(sent).toEqual([['1', { numExamples: 3, metrics: { accuracy: 0.5 } }]]);
  etag = '"b"';
  await reportVersions();
  expect([sent.length, measured]).toEqual([2, 1]);
  version = 2;
  await reportVersions();
  expect([sent.length, measured]).toEqual([3, 2]);
});

it('reports again every hour, and when the clock is set back, what it measured', async () => {
  await reportVersions();
  now += HOUR_MS - 1;
  await reportVersions();
  expect(sent).toHaveLength(1);
  now += 1;
  await reportVersions();
  await reportVersions();
  expect(sent).toHaveLength(2);
  now -= 1;
  await reportVersions();
  expect([sent.length, measured]).toEqual([3, 1]);
});

it.each([Number.NaN, Number.POSITIVE_INFINITY])(
  'reports a loss of %s as the largest there is',
  async (loss) => {
    metrics = { loss, accuracy: Number.NaN, recall: 0 };
    await reportVersions();
    expect(sent).toEqual([['1', { numExamples: 3, metrics: { loss: Number.MAX_VALUE, recall: 0 } }]]);
  },
);
