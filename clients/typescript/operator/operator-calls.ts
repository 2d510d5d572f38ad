import type { Client } from '../generated/client/index.ts';
import * as sdk from '../generated/sdk.gen.ts';
import type {
  CreateEnrollmentToken,
  CreateModel,
  CreateRun,
  Release,
  Round,
  Run,
} from '../generated/types.gen.ts';
import type { Outcome } from '../http/calls.ts';
import { digestField, sha256 } from '../http/digests.ts';
import { decodeWeights, encodeWeights } from '../tensors/weights.ts';
import type { NamedTensors } from '../trainer.ts';
import { encodeExamples, type LabelledExamples } from './evaluation-file.ts';

export interface Page<T> {
  items: T[];
  nextCursor?: string;
}
export interface PageQuery {
  limit: number;
  cursor?: string;
}
export type Ask = <T>(make: (signal: AbortSignal) => Promise<Outcome<T>>) => Promise<T>;
export type List = <T>(
  make: (query: PageQuery, signal: AbortSignal) => Promise<Outcome<Page<T>>>,
) => Promise<T[]>;

export function readCalls(client: Client, ask: Ask, list: List) {
  return {
    listDevices: () => list((query, signal) => sdk.listDevices({ client, query, signal })),
    getModel: (model: string) => ask((signal) => sdk.getModel({ client, path: { model }, signal })),
    listModels: () => list((query, signal) => sdk.listModels({ client, query, signal })),
    listVersions: (model: string) =>
      list((query, signal) => sdk.listModelVersions({ client, path: { model }, query, signal })),
    getVersion: (model: string, version: number) =>
      ask((signal) => sdk.getModelVersion({ client, path: { model, version }, signal })),
    getRun: (run: string) => ask((signal) => sdk.getRun({ client, path: { run }, signal })),
    listRuns: (filter: { model?: string; state?: Run['state'] } = {}) =>
      list((query, signal) => sdk.listRuns({ client, query: { ...query, ...filter }, signal })),
    listRounds: (run: string, kind?: Round['kind']) =>
      list((page, signal) => {
        const query = { ...page, ...(kind && { kind }) };
        return sdk.listRounds({ client, path: { run }, query, signal });
      }),
    listUpdates: (round: string) =>
      list((query, signal) => sdk.listUpdates({ client, path: { round }, query, signal })),
    listReleases: (filter: { model?: string } = {}): Promise<Release[]> =>
      list((query, signal) => sdk.listReleases({ client, query: { ...query, ...filter }, signal })),
    getCatalog: () => ask((signal) => sdk.getCatalog({ client, signal })),
  };
}

/** A repeat has the key of the first attempt, and with it its effect and its answer. */
export function writeCalls(client: Client, ask: Ask) {
  const once = () => ({ 'Idempotency-Key': crypto.randomUUID() });
  return {
    createEnrollmentToken: (body: CreateEnrollmentToken) =>
      ask((signal) => sdk.createEnrollmentToken({ client, body, signal })),
    approveDevice: (device: string) =>
      ask((signal) => sdk.approveDevice({ client, path: { device }, signal })),
    revokeDevice: (device: string) => ask((signal) => sdk.revokeDevice({ client, path: { device }, signal })),
    createModel: (body: CreateModel, headers = once()) =>
      ask((signal) => sdk.createModel({ client, body, headers, signal })),
    createRun: (body: CreateRun, headers = once()) =>
      ask((signal) => sdk.createRun({ client, body, headers, signal })),
    pauseRun: (run: string) => ask((signal) => sdk.pauseRun({ client, path: { run }, signal })),
    resumeRun: (run: string) => ask((signal) => sdk.resumeRun({ client, path: { run }, signal })),
    stopRun: (run: string) => ask((signal) => sdk.stopRun({ client, path: { run }, signal })),
    haltRelease: (release: string, headers = once()) =>
      ask((signal) => sdk.haltRelease({ client, path: { release }, headers, signal })),
  };
}

/** Files take as long as they take: no time limit but the operator's signal. */
export function uploadCalls(client: Client, ask: Ask, signal: AbortSignal) {
  return {
    uploadVersion: async (model: string, tensors: NamedTensors) => {
      const file = await declared(encodeWeights(tensors));
      return ask(() => sdk.createModelVersion({ client, path: { model }, ...file, signal }));
    },
    uploadEvaluationSet: async (model: string, examples: LabelledExamples) => {
      const file = await declared(encodeExamples(examples));
      return ask(() => sdk.putEvaluationSet({ client, path: { model }, ...file, signal }));
    },
    downloadWeights: async (model: string, version: number) => {
      const path = { model, version };
      const file = await ask(() => sdk.downloadWeights({ client, path, parseAs: 'blob', signal }));
      return decodeWeights(new Uint8Array(await (file as Blob).arrayBuffer()));
    },
  };
}

async function declared(bytes: Uint8Array<ArrayBuffer>) {
  return { body: new Blob([bytes]), headers: { 'Content-Digest': digestField(await sha256(bytes)) } };
}
