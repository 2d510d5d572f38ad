import { createHash, randomBytes } from 'node:crypto';
import type { Deps } from '../../api/deps.ts';
import { newId } from '../../api/store/ids.ts';
import {
  assignments,
  blobs,
  devices,
  enrollmentTokens,
  federations,
  models,
  modelVersions,
  operatorKeys,
  releases,
  rounds,
  runs,
  uploads,
} from '../../api/store/schema.ts';
import { defaultSettings, encodeValues, manifest } from './rounds/rounds.ts';

/** One object of every kind, by the names of the contract's path parameters. */
export type ObjectIds = Record<
  'token' | 'key' | 'device' | 'model' | 'version' | 'release' | 'run' | 'round' | 'assignment' | 'upload',
  string
>;

/**
 * Puts one object of every kind into a federation, straight into the store. The assignment and its upload belong to
 * `deviceId`, a device that is there already, or to the new one.
 */
export async function createObjects(
  deps: Deps,
  federationId: string,
  owner: { deviceId?: string } = {},
): Promise<ObjectIds> {
  const { pool } = deps.db;
  const createdAt = deps.clock.now();
  const base = { federationId, createdAt };
  const id = () => newId(createdAt);
  const secretHash = () => createHash('sha256').update(randomBytes(16)).digest('hex');
  await pool.insert(federations).values({ id: federationId, createdAt }).onConflictDoNothing();
  const token = id();
  await pool.insert(enrollmentTokens).values({
    ...base,
    id: token,
    name: 'token',
    secretHash: secretHash(),
    labels: {},
    requiresApproval: false,
    maxUses: 10,
    expiresAt: new Date(createdAt.getTime() + 60_000),
  });
  const key = id();
  const operatorKey = { ...base, id: key, name: 'key', role: 'viewer' as const, secretHash: secretHash() };
  await pool.insert(operatorKeys).values(operatorKey);
  const device = id();
  const described = { name: 'device', state: 'active' as const, labels: {}, properties: {} };
  await pool.insert(devices).values({ ...base, ...described, id: device, lastSeenAt: createdAt });
  const model = await createModel(deps, base);
  const release = await createRelease(deps, base, model.name, owner);
  const training = await createTraining(deps, base, {
    modelId: model.id,
    deviceId: owner.deviceId ?? device,
  });
  return { token, key, device, model: model.name, version: '1', release, ...training };
}

interface Base {
  federationId: string;
  createdAt: Date;
}

async function createModel({ db, blobs: store }: Deps, base: Base): Promise<{ id: string; name: string }> {
  const id = newId(base.createdAt);
  const name = `model-${id.slice(-12)}`;
  const evaluation = {
    evaluationKey: `evaluation/${id}`,
    evaluationDigest: '0'.repeat(64),
    evaluationExamples: 1,
  };
  const file = encodeValues([1, 2, 3, 4, 5, 6, 7, 8]);
  const blobKey = `version/${id}`;
  const writer = await store.create(blobKey);
  await writer.write(file);
  await writer.commit();
  await db.pool.insert(blobs).values({ key: blobKey, state: 'live', createdAt: base.createdAt });
  await db.pool
    .insert(models)
    .values({ ...base, ...evaluation, id, name, description: '', manifest, parameters: 8, head: 1 });
  const digest = createHash('sha256').update(file).digest('hex');
  await db.pool
    .insert(modelVersions)
    .values({ ...base, modelId: id, version: 1, digest, bytes: file.length, blobKey, metrics: {} });
  return { id, name };
}

/** A release that is through. It gives its version to everybody if the objects have an owner, else to no device. */
async function createRelease(
  { db }: Deps,
  { federationId, createdAt }: Base,
  model: string,
  { deviceId }: { deviceId?: string },
): Promise<string> {
  const id = newId(createdAt);
  const labels: Record<string, string[]> = deviceId === undefined ? { site: ['nowhere'] } : {};
  const cohorts = [{ name: 'everyone', labels, percent: [100] }];
  const digest = '0'.repeat(64);
  const document = { model, version: 1, digest, cohorts, bakeSeconds: 0 };
  await db.pool.insert(releases).values({
    id,
    federationId,
    model,
    document,
    contentHash: digest,
    state: 'complete',
    outcome: 'complete',
    version: 1,
    digest,
    createdAt,
    activatedAt: createdAt,
  });
  return id;
}

async function createTraining(
  { db: { pool } }: Deps,
  base: Base,
  { modelId, deviceId }: { modelId: string; deviceId: string },
): Promise<Pick<ObjectIds, 'run' | 'round' | 'assignment' | 'upload'>> {
  const id = () => newId(base.createdAt);
  const [run, round, assignment, upload] = [id(), id(), id(), id()] as const;
  const later = new Date(base.createdAt.getTime() + 60_000);
  const { federationId } = base;
  await pool
    .insert(runs)
    .values({ ...base, id: run, name: 'run', modelId, state: 'active', settings: defaultSettings });
  await pool.insert(rounds).values({
    federationId,
    id: round,
    runId: run,
    modelId,
    kind: 'train',
    number: 1,
    state: 'collecting',
    baseVersion: 1,
    seed: 1,
    quorum: 1,
    capacity: 3,
    target: 1,
    invited: 1,
    openAssignments: 1,
    openedAt: base.createdAt,
    pendingUntil: later,
    collectingAt: base.createdAt,
    deadlineAt: later,
  });
  await pool
    .insert(assignments)
    .values({ ...base, id: assignment, roundId: round, deviceId, kind: 'train', state: 'open' });
  await pool.insert(uploads).values({
    ...base,
    id: upload,
    assignmentId: assignment,
    deviceId,
    digest: '0'.repeat(64),
    bytes: 100,
    expiresAt: later,
  });
  return { run, round, assignment, upload };
}
