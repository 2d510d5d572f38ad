import { createHash } from 'node:crypto';
import { placeTensors } from '../../domain/manifest.ts';
import { averageMetrics } from '../../domain/metrics.ts';
import type { FailureReason } from '../../domain/round.ts';
import { retainedUntil } from '../../domain/run.ts';
import { encodeTensorHeader } from '../../domain/tensors.ts';
import { FoldRequestError, NonFiniteError } from '../../kernels/folds/fold-errors.ts';
import { BlobMissingError, writeWatched } from '../../store/blobs/blob-store.ts';
import type { Queryable } from '../../store/database.ts';
import { newId } from '../../store/ids.ts';
import { reserveBlob } from '../../store/models/blob-rows.ts';
import { lockLease } from '../../store/rounds/leases.ts';
import { findVersionFile, listReports, publishVersion } from '../../store/rounds/publications.ts';
import { failLockedRound, lockRound, lockRunOfRound, type RoundRow } from '../../store/rounds/round-locks.ts';
import { findRound } from '../../store/rounds/rounds.ts';
import { type Fold, type FoldContext, LeaseLostError, renewHold, whileHeld } from './holds.ts';

/** The base version's file is not what was published. */
class DamagedBaseError extends Error {}

interface VersionFile {
  blobKey: string;
  digest: string;
  bytes: number;
}

/**
 * Ends an aggregating round whose updates are all folded: publishes the model's next version, the blob first, then one
 * transaction under the lease; or fails the round where there is nothing to publish. Throws LeaseLostError: whoever
 * holds the round goes on. After any other error the same fold may be published again.
 */
export async function publishRound(context: FoldContext, fold: Fold): Promise<void> {
  const { deps } = context;
  const [round, reports] = await Promise.all([
    findRound(deps.db.pool, fold.roundId),
    listReports(deps.db.pool, fold.roundId),
  ]);
  if (round?.state !== 'aggregating') return;
  if (reports.length < round.quorum) return failRound(context, fold, 'updates_rejected');
  const endTimer = deps.metrics.publishSeconds.startTimer();
  const file = await writeVersion(context, fold, round);
  if (typeof file === 'string') return failRound(context, fold, file);
  await deps.failpoint('publish.after_blob');
  await deps.db.transaction(async (tx) => {
    const locked = await lockForEnding(tx, fold);
    const now = deps.clock.now();
    const retention = { retainedUntil: retainedUntil(fold.settings, now) };
    const publication = { ...file, ...retention, metrics: averageMetrics(reports), now };
    const outcome = await publishVersion(tx, locked, publication);
    if (outcome === 'blob_swept') throw new Error(`${file.blobKey} was swept before it was published`);
    if (outcome === 'head_moved') await failLockedRound(tx, locked, 'head_moved', now);
    await deps.failpoint('publish.before_commit');
  });
  endTimer();
  await deps.failpoint('publish.after_commit');
}

async function failRound({ deps }: FoldContext, fold: Fold, reason: FailureReason): Promise<void> {
  await deps.db.transaction(async (tx) => {
    await failLockedRound(tx, await lockForEnding(tx, fold), reason, deps.clock.now());
  });
}

/** Run, round, lease: nobody else may end this round now. */
async function lockForEnding(tx: Queryable, { roundId, fence }: Fold): Promise<RoundRow> {
  const [run, round, isHolder] = await Promise.all([
    lockRunOfRound(tx, roundId),
    lockRound(tx, roundId, 'aggregating'),
    lockLease(tx, roundId, fence),
  ]);
  if (!run || !round || !isHolder) throw new LeaseLostError(`round ${roundId}: fence ${fence} is dead`);
  return round;
}

/** Writes the next version's file; or why there cannot be one. */
async function writeVersion(
  context: FoldContext,
  fold: Fold,
  round: RoundRow,
): Promise<VersionFile | FailureReason> {
  const { deps, folds } = context;
  const base = await findVersionFile(deps.db.pool, round.modelId, round.baseVersion);
  if (!base) return 'base_missing';
  const { head, dataBytes } = encodeTensorHeader(placeTensors(fold.manifest).tensors);
  const now = deps.clock.now();
  const blobKey = `version/${newId(now)}`;
  const reserved = reserveBlob(deps.db.pool, blobKey, now);
  // Awaited only before the file becomes visible: until then a failure must not count as unhandled.
  reserved.catch(() => undefined);
  const writer = await deps.blobs.create(blobKey, { bytes: head.length + dataBytes });
  const hash = createHash('sha256').update(head);
  try {
    await writer.write(head);
    const chunks = whileHeld(context, fold, deps.blobs.read(base.blobKey));
    for await (const chunk of folds.finish(fold.id, readBase(chunks, base, dataBytes))) {
      await writeWatched(writer, chunk, (bytes) => hash.update(bytes));
    }
    await Promise.all([reserved, renewHold(context, fold)]);
    await deps.failpoint('publish.mid_blob');
    await writer.commit();
    return { blobKey, digest: hash.digest('hex'), bytes: writer.bytes };
  } catch (error) {
    await writer.abort();
    const reason = failureOf(error);
    if (reason === undefined) throw error;
    deps.log.error({ err: error, round: round.id }, 'a round cannot be published');
    return reason;
  }
}

function failureOf(error: unknown): FailureReason | undefined {
  if (error instanceof NonFiniteError) return 'not_finite';
  const isBaseBad =
    error instanceof BlobMissingError ||
    error instanceof DamagedBaseError ||
    (error instanceof FoldRequestError && error.fault === 'bad_base');
  return isBaseBad ? 'base_missing' : undefined;
}

/** The base's data without its header; throws if the file's digest is not the published one. */
async function* readBase(
  chunks: AsyncIterable<Uint8Array>,
  base: VersionFile,
  dataBytes: number,
): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256');
  let skip = base.bytes - dataBytes;
  for await (const chunk of chunks) {
    hash.update(chunk);
    const skipped = Math.min(skip, chunk.length);
    skip -= skipped;
    if (skipped < chunk.length) yield chunk.subarray(skipped);
  }
  if (hash.digest('hex') !== base.digest) throw new DamagedBaseError(`blob ${base.blobKey} is damaged`);
}
