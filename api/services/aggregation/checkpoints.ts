import { createHash } from 'node:crypto';
import { FoldRequestError } from '../../kernels/folds/fold-errors.ts';
import { BlobMissingError, writeWatched } from '../../store/blobs/blob-store.ts';
import { reserveBlob, settleBlob } from '../../store/models/blob-rows.ts';
import { discardCheckpoint, findCheckpoint, lockFold, replaceCheckpoint } from '../../store/rounds/leases.ts';
import { type Fold, type FoldContext, LeaseLostError, whileHeld } from './holds.ts';

/**
 * Checkpoints cost eight bytes a parameter: one for so many times their size in folded bytes. Writing one durably takes
 * as long as folding eight times its size from a local disk; what is lost with a worker is folded again.
 */
const CHECKPOINT_RATIO = 32;

export function isCheckpointDue({ deps }: FoldContext, { sinceCheckpoint, parameters }: Fold): boolean {
  const { checkpointUpdates } = deps.config;
  if (checkpointUpdates !== undefined) return sinceCheckpoint.updates >= checkpointUpdates;
  return sinceCheckpoint.bytes >= CHECKPOINT_RATIO * parameters * 8;
}

/** Writes the accumulator to a blob and points the round's checkpoint at it. Throws LeaseLostError. */
export async function saveCheckpoint(context: FoldContext, fold: Fold): Promise<void> {
  const { deps, folds } = context;
  const { roundId, fence, sequence } = fold;
  // Also if it fails: the next one then comes later and under another key.
  fold.sinceCheckpoint = { updates: 0, bytes: 0 };
  const blobKey = `checkpoint/${roundId}/${fence}-${sequence}`;
  await reserveBlob(deps.db.pool, blobKey, deps.clock.now());
  const writer = await deps.blobs.create(blobKey, { bytes: fold.parameters * 8 });
  const hash = createHash('sha256');
  try {
    for await (const chunk of whileHeld(context, fold, folds.save(fold.id))) {
      await writeWatched(writer, chunk, (bytes) => hash.update(bytes));
    }
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
  await deps.failpoint('checkpoint.after_blob');
  await deps.db.transaction(async (tx) => {
    if (!(await lockFold(tx, roundId, fence))) throw new LeaseLostError(`round ${roundId} was taken over`);
    if (!(await settleBlob(tx, blobKey))) throw new Error(`${blobKey} was swept before it was used`);
    await replaceCheckpoint(tx, { roundId, sequence, blobKey, digest: hash.digest('hex') });
  });
}

/**
 * Brings a fresh fold to its round's checkpoint, if there is one. False: the checkpoint is damaged and was discarded, the
 * fold spoiled; begin it again, from the first update. Throws LeaseLostError.
 */
export async function restoreCheckpoint(context: FoldContext, fold: Fold): Promise<boolean> {
  const { deps } = context;
  const checkpoint = await findCheckpoint(deps.db.pool, fold.roundId);
  if (!checkpoint) return true;
  const fault = await fillFrom(context, fold, checkpoint);
  if (!fault) {
    fold.sequence = checkpoint.sequence;
    return true;
  }
  deps.log.error({ round: fold.roundId, blob: checkpoint.blobKey, fault }, 'a checkpoint is damaged');
  await deps.db.transaction(async (tx) => {
    if (!(await lockFold(tx, fold.roundId, fold.fence))) throw new LeaseLostError('the round was taken over');
    await discardCheckpoint(tx, fold.roundId);
  });
  return false;
}

async function fillFrom(
  context: FoldContext,
  fold: Fold,
  { blobKey, digest }: { blobKey: string; digest: string },
): Promise<string | undefined> {
  const { deps, folds } = context;
  const hash = createHash('sha256');
  async function* hashed() {
    for await (const chunk of deps.blobs.read(blobKey)) {
      hash.update(chunk);
      yield chunk;
    }
  }
  try {
    await folds.restore(fold.id, whileHeld(context, fold, hashed()));
    return hash.digest('hex') === digest ? undefined : 'it is not what was written';
  } catch (error) {
    if (error instanceof BlobMissingError || error instanceof FoldRequestError) return error.message;
    throw error;
  }
}
