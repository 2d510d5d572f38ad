import { createHash } from 'node:crypto';
import { eq } from 'drizzle-orm';
import type { Deps } from '../../../api/deps.ts';
import { bodyOf } from '../../../api/domain/body.ts';
import type { DeviceProperties, Labels } from '../../../api/domain/device.ts';
import type { Manifest } from '../../../api/domain/manifest.ts';
import type { Principal } from '../../../api/domain/role.ts';
import type { RunSettings } from '../../../api/domain/run.ts';
import { encodeTensorHeader } from '../../../api/domain/tensors.ts';
import { createFoldThread, type FoldThread } from '../../../api/kernels/folds/folds.ts';
import { createFolder } from '../../../api/services/aggregation/folding.ts';
import { advanceRounds } from '../../../api/services/rounds/round-clock.ts';
import { submitUpdate } from '../../../api/services/rounds/updates.ts';
import { newId } from '../../../api/store/ids.ts';
import { findOpenAssignments } from '../../../api/store/rounds/assignments.ts';
import {
  assignments,
  devices,
  federations,
  models,
  modelVersions,
  rounds,
  runs,
  updates,
} from '../../../api/store/schema.ts';

export type DevicePrincipal = Extract<Principal, { kind: 'device' }>;

export const defaultSettings: RunSettings = {
  strategy: { name: 'fedavg', parameters: {} },
  hyperparameters: { learningRate: 0.1 },
  selection: {},
  rounds: 1,
  quorum: 2,
  capacity: 3,
  deadlineMs: 60_000,
  pendingMs: 30_000,
  presenceMs: 3_600_000,
  maxFailedRounds: 3,
  seed: 7,
  retainUpdates: true,
};

export const manifest: Manifest = {
  tensors: [
    { name: 'w', shape: [3, 2], dtype: 'F32', role: 'trainable' },
    { name: 'b', shape: [2], dtype: 'F32', role: 'trainable' },
  ],
};

/** A tensor file of a model, the fixture's (eight values) unless it is another: its values in the manifest's order. */
export function encodeValues(
  values: Iterable<number>,
  metadata: Record<string, string> = {},
  { tensors }: Manifest = manifest,
): Buffer {
  const { head } = encodeTensorHeader(tensors, metadata);
  return Buffer.concat([head, Buffer.from(Float32Array.from(values).buffer)]);
}

export function encodeUpdate(values: Iterable<number>, numExamples = 1, model = manifest): Buffer {
  const metadata = { num_examples: String(numExamples), metrics: '{"loss":0.5}', encoding: 'f32' };
  return encodeValues(values, metadata, model);
}

export function declare(file: Buffer, digest = createHash('sha256').update(file).digest('hex')) {
  return {
    bytes: file.length,
    digest,
    body: bodyOf(async function* () {
      yield file;
    }),
  };
}

interface SeededDevice {
  labels?: Labels;
  properties?: DeviceProperties;
  lastSeenAt?: Date;
}

interface Seed {
  devices: number;
  settings?: Partial<RunSettings>;
  /** The model, and the values of its version 1. */
  manifest?: Manifest;
  base?: readonly number[];
  labels?: Labels;
}

/** Puts a federation, a model with version 1, a run and present devices straight into the store. */
export async function seedFederation(deps: Deps, options: Seed) {
  const model = options.manifest ?? manifest;
  const values = options.base ?? [1, 2, 3, 4, 5, 6, 7, 8];
  const now = deps.clock.now();
  const { pool } = deps.db;
  await pool.insert(federations).values({ id: 'default', createdAt: now }).onConflictDoNothing();
  const modelId = newId(now);
  const base = { federationId: 'default', createdAt: now };
  const file = encodeValues(values, {}, model);
  const blobKey = `version/${modelId}`;
  const writer = await deps.blobs.create(blobKey);
  await writer.write(file);
  await writer.commit();
  await pool.insert(models).values({
    ...base,
    id: modelId,
    name: `m-${modelId}`,
    description: '',
    manifest: model,
    parameters: values.length,
    head: 1,
  });
  const digest = createHash('sha256').update(file).digest('hex');
  await pool
    .insert(modelVersions)
    .values({ ...base, modelId, version: 1, digest, bytes: file.length, blobKey, metrics: {} });
  const runId = newId(now);
  const settings = { ...defaultSettings, ...options.settings };
  if (options.labels) settings.selection = { ...settings.selection, labels: options.labels };
  await pool.insert(runs).values({ ...base, id: runId, name: 'run', modelId, state: 'active', settings });
  const principals = await seedDevices(deps, options.devices, { labels: options.labels ?? {} });
  return { modelId, runId, devices: principals };
}

export async function seedDevices(
  deps: Deps,
  count: number,
  { labels = {}, properties = {}, lastSeenAt = deps.clock.now() }: SeededDevice = {},
): Promise<DevicePrincipal[]> {
  const now = deps.clock.now();
  const ids = Array.from({ length: count }, () => newId(now));
  if (count === 0) return [];
  await deps.db.pool.insert(devices).values(
    ids.map((id) => ({
      id,
      federationId: 'default',
      name: `device ${id}`,
      state: 'active' as const,
      labels,
      properties,
      createdAt: now,
      lastSeenAt,
    })),
  );
  return ids.map((id) => ({ kind: 'device', id, federationId: 'default', thumbprint: id }));
}

/** A worker that a test turns by hand. */
export function createTestWorker(deps: Deps, options: { holder?: string; folds?: FoldThread } = {}) {
  const stopping = new AbortController();
  const { holder = 'test', folds = createFoldThread() } = options;
  const folder = createFolder({ deps, folds, holder, signal: stopping.signal });
  return {
    folder,
    /** Clock and folder, until neither has anything left to do. */
    async turn(times = 3): Promise<void> {
      for (let i = 0; i < times; i += 1) {
        await advanceRounds(deps);
        while ((await folder.step()) === 0);
      }
    },
    async close(): Promise<void> {
      stopping.abort();
      await folder.close();
      await folds.close();
    },
  };
}

export async function openAssignments(deps: Deps, principals: readonly DevicePrincipal[]) {
  const found = await findOpenAssignments(
    deps.db.pool,
    principals.map(({ id }) => id),
  );
  return found.map((assignment) => ({
    ...assignment,
    device: principals.find(({ id }) => id === assignment.deviceId)!,
  }));
}

export async function sendUpdate(
  deps: Deps,
  assignment: { id: string; device: DevicePrincipal },
  values: readonly number[],
  numExamples = 1,
) {
  return submitUpdate(deps, assignment.device, assignment.id, declare(encodeUpdate(values, numExamples)));
}

export const view = {
  rounds: (deps: Deps, runId: string) =>
    deps.db.pool.select().from(rounds).where(eq(rounds.runId, runId)).orderBy(rounds.kind, rounds.number),
  run: async (deps: Deps, runId: string) =>
    (await deps.db.pool.select().from(runs).where(eq(runs.id, runId)))[0]!,
  versions: (deps: Deps, modelId: string) =>
    deps.db.pool
      .select()
      .from(modelVersions)
      .where(eq(modelVersions.modelId, modelId))
      .orderBy(modelVersions.version),
  updates: (deps: Deps, roundId: string) =>
    deps.db.pool.select().from(updates).where(eq(updates.roundId, roundId)).orderBy(updates.sequence),
  assignments: (deps: Deps, roundId: string) =>
    deps.db.pool.select().from(assignments).where(eq(assignments.roundId, roundId)),
  model: async (deps: Deps, modelId: string) =>
    (await deps.db.pool.select().from(models).where(eq(models.id, modelId)))[0]!,
};

/** The eight values of a stored version. */
export async function readValues(deps: Deps, blobKey: string): Promise<number[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of deps.blobs.read(blobKey)) chunks.push(chunk.slice());
  const file = Buffer.concat(chunks);
  return [
    ...new Float32Array(file.buffer.slice(file.byteOffset + file.length - 32, file.byteOffset + file.length)),
  ];
}
