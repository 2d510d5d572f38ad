import type { Deps } from '../deps.ts';
import { type Manifest, placeTensors } from '../domain/manifest.ts';
import { parseTensorHeader, readHeaderLength, TENSOR_LENGTH_BYTES } from '../domain/tensors.ts';
import { planUpdate, type UpdateSegment } from '../domain/update.ts';
import { FoldRequestError } from '../kernels/fold-errors.ts';
import type { FoldThread } from '../kernels/folds.ts';
import { findManifest } from '../store/assignments.ts';
import { reserveBlob, settleBlob } from '../store/blob-rows.ts';
import { BlobMissingError } from '../store/blobs/blob-store.ts';
import {
  discardCheckpoint,
  type FoldableRound,
  type FoldableUpdate,
  findCheckpoint,
  lockLease,
  rejectUpdate,
  renewLease,
  replaceCheckpoint,
  takeLease,
} from '../store/leases.ts';

/** A round whose lease this worker holds, with the accumulator on the fold thread. */
export interface Fold {
  /** On the thread: one for each taking of the lease, so that a lost one is never mixed with its successor. */
  id: string;
  roundId: string;
  fence: number;
  manifest: Manifest;
  parameters: number;
  retainUpdates: boolean;
  /** Updates up to this sequence are in the accumulator. */
  sequence: number;
  sinceCheckpoint: { updates: number; bytes: number };
  renewedAt: number;
}

/** Takes a round's lease and brings the accumulator to its checkpoint. Undefined: somebody else holds the round. */
export async function holdRound(
  deps: Deps,
  folds: FoldThread,
  round: FoldableRound,
  holder: string,
): Promise<Fold | undefined> {
  const now = deps.clock.now();
  const { leaseMs } = deps.config;
  const fence = await takeLease(deps.db.pool, round.id, { holder, now, leaseMs });
  if (fence === undefined) return undefined;
  const manifest = await findManifest(deps.db.pool, round.modelId);
  const { parameters } = placeTensors(manifest);
  const id = `${round.id}/${fence}`;
  await folds.begin(id, {
    strategy: round.settings.strategy.name,
    parameters: round.settings.strategy.parameters,
    range: { start: 0, length: parameters },
  });
  const sequence = await restoreCheckpoint(deps, folds, round.id, id).catch(async (error: unknown) => {
    await folds.release(id);
    throw error;
  });
  const { retainUpdates } = round.settings;
  const sinceCheckpoint = { updates: 0, bytes: 0 };
  return {
    id,
    roundId: round.id,
    fence,
    manifest,
    parameters,
    retainUpdates,
    sequence,
    sinceCheckpoint,
    renewedAt: now.getTime(),
  };
}

/** Renews the lease when a third of it has passed. False: it is lost. */
export async function renewHold(deps: Deps, fold: Fold): Promise<boolean> {
  const now = deps.clock.now().getTime();
  if (now - fold.renewedAt < deps.config.leaseMs / 3) return true;
  fold.renewedAt = now;
  return renewLease(deps.db.pool, fold.roundId, fold.fence, new Date(now + deps.config.leaseMs));
}

/**
 * Folds the next update. Bytes that are not what was acknowledged make it `rejected`; the accumulator is then spoiled.
 * False: drop the fold and take it up again.
 */
export async function addUpdate(
  deps: Deps,
  folds: FoldThread,
  fold: Fold,
  update: FoldableUpdate,
): Promise<boolean> {
  if (update.sequence !== fold.sequence + 1) return false;
  if (update.state === 'accepted') {
    const fault = await foldFile(deps, folds, fold, update);
    if (fault) {
      deps.log.error(
        { update: update.assignmentId, blob: update.blobKey, fault },
        'an accepted update is damaged',
      );
      await deps.db.transaction(async (tx) => {
        if (await lockLease(tx, fold.roundId, fold.fence)) await rejectUpdate(tx, update.assignmentId, fault);
      });
      return false;
    }
    await deps.failpoint('fold.after_update');
  }
  fold.sequence = update.sequence;
  fold.sinceCheckpoint.updates += 1;
  fold.sinceCheckpoint.bytes += update.bytes;
  return true;
}

async function foldFile(
  deps: Deps,
  folds: FoldThread,
  fold: Fold,
  update: FoldableUpdate,
): Promise<'blob_missing' | 'blob_corrupt' | undefined> {
  try {
    const segments = await readSegments(deps, fold.manifest, update.blobKey);
    if (!segments) return 'blob_corrupt';
    const chunks = deps.blobs.read(update.blobKey);
    const { sha256 } = await folds.add(fold.id, { weight: update.weight, segments, chunks });
    return sha256 === update.digest ? undefined : 'blob_corrupt';
  } catch (error) {
    if (error instanceof BlobMissingError) return 'blob_missing';
    if (error instanceof FoldRequestError && error.fault === 'bad_segments') return 'blob_corrupt';
    throw error;
  }
}

/** Where the update's values lie, from its own header; undefined if that is damaged. Scalars were checked at intake. */
async function readSegments(
  deps: Deps,
  manifest: Manifest,
  key: string,
): Promise<UpdateSegment[] | undefined> {
  const lengthBytes = await readBytes(deps, key, TENSOR_LENGTH_BYTES);
  const length = readHeaderLength(lengthBytes);
  if (!length.ok) return undefined;
  const parsed = parseTensorHeader(await readBytes(deps, key, TENSOR_LENGTH_BYTES + length.jsonBytes));
  if (!parsed.ok) return undefined;
  const planned = planUpdate(parsed.header, manifest, []);
  return planned.ok ? planned.plan.segments : undefined;
}

async function readBytes(deps: Deps, key: string, end: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of deps.blobs.read(key, { start: 0, end })) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}

/** Writes the accumulator to a blob and points the round's checkpoint at it, if the lease still holds. */
export async function saveFold(deps: Deps, folds: FoldThread, fold: Fold): Promise<void> {
  const { roundId, fence, sequence } = fold;
  const blobKey = `checkpoint/${roundId}/${fence}-${sequence}`;
  await reserveBlob(deps.db.pool, blobKey, deps.clock.now());
  const writer = await deps.blobs.create(blobKey, { bytes: fold.parameters * 8 });
  try {
    for await (const chunk of folds.save(fold.id)) await writer.write(chunk);
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
  await deps.failpoint('checkpoint.after_blob');
  await deps.db.transaction(async (tx) => {
    if (!(await lockLease(tx, roundId, fence)) || !(await settleBlob(tx, blobKey))) return;
    await replaceCheckpoint(tx, { roundId, sequence, blobKey });
  });
  fold.sinceCheckpoint = { updates: 0, bytes: 0 };
}

/** Returns the sequence that the accumulator has reached: 0 without a checkpoint that can be read. */
async function restoreCheckpoint(
  deps: Deps,
  folds: FoldThread,
  roundId: string,
  id: string,
): Promise<number> {
  const checkpoint = await findCheckpoint(deps.db.pool, roundId);
  if (!checkpoint) return 0;
  try {
    await folds.restore(id, deps.blobs.read(checkpoint.blobKey));
    return checkpoint.sequence;
  } catch (error) {
    if (!(error instanceof BlobMissingError || error instanceof FoldRequestError)) throw error;
    deps.log.error(
      { err: error, round: roundId },
      'a checkpoint is damaged: the fold starts from the first update',
    );
    await discardCheckpoint(deps.db.pool, roundId);
    throw error;
  }
}
