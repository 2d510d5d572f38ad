import { createHash } from 'node:crypto';
import type { Deps } from '../deps.ts';
import { placeTensors } from '../domain/manifest.ts';
import { averageMetrics } from '../domain/metrics.ts';
import type { FailureReason } from '../domain/round.ts';
import { encodeTensorHeader } from '../domain/tensors.ts';
import { NonFiniteError } from '../kernels/fold-errors.ts';
import type { FoldThread } from '../kernels/folds.ts';
import { reserveBlob } from '../store/blob-rows.ts';
import { BlobMissingError } from '../store/blobs/blob-store.ts';
import { lockLease } from '../store/leases.ts';
import { findVersionFile, listReports, publishVersion } from '../store/publications.ts';
import { failLockedRound, lockRound, lockRunOfRound, type RoundRow } from '../store/round-locks.ts';
import { findRound } from '../store/rounds.ts';
import type { Fold } from './folds.ts';

/** The base version's file is missing or is not what was published. */
class DamagedBaseError extends Error {}

/**
 * Publishes what was folded as the model's next version: the blob first, then one transaction under the lease.
 * Returns why the round has to fail instead, if it has to. A lost lease publishes nothing and is no failure: whoever
 * holds it goes on.
 */
export async function publishRound(
  deps: Deps,
  folds: FoldThread,
  fold: Fold,
): Promise<FailureReason | undefined> {
  const round = await findRound(deps.db.pool, fold.roundId);
  if (round?.state !== 'aggregating') return undefined;
  const reports = await listReports(deps.db.pool, round.id);
  if (reports.length < round.quorum) return 'updates_rejected';
  const file = await writeVersion(deps, folds, fold, round);
  if (typeof file === 'string') return file;
  await deps.failpoint('publish.after_blob');
  await deps.db.transaction(async (tx) => {
    const locked = await lockForEnding(tx, fold);
    if (!locked) return;
    const now = deps.clock.now();
    const metrics = averageMetrics(reports);
    const published = await publishVersion(tx, locked, {
      ...file,
      metrics,
      retainUpdates: fold.retainUpdates,
      now,
    });
    if (!published) throw new Error(`round ${round.id}: the head of its model moved, or its blob was swept`);
    await deps.failpoint('publish.before_commit');
  });
  await deps.failpoint('publish.after_commit');
  return undefined;
}

/** Fails an aggregating round, under the lease. */
export async function failRound(deps: Deps, fold: Fold, reason: FailureReason): Promise<void> {
  await deps.db.transaction(async (tx) => {
    const round = await lockForEnding(tx, fold);
    if (round) await failLockedRound(tx, round, reason, deps.clock.now());
  });
}

/** Run, lease, round: nobody else may end this round now. Undefined: somebody did, or the fence is dead. */
async function lockForEnding(tx: Parameters<typeof lockRound>[0], fold: Fold): Promise<RoundRow | undefined> {
  if (!(await lockRunOfRound(tx, fold.roundId))) return undefined;
  if (!(await lockLease(tx, fold.roundId, fold.fence))) return undefined;
  return lockRound(tx, fold.roundId, 'aggregating');
}

async function writeVersion(
  deps: Deps,
  folds: FoldThread,
  fold: Fold,
  round: RoundRow,
): Promise<{ blobKey: string; digest: string; bytes: number } | FailureReason> {
  const base = await findVersionFile(deps.db.pool, round.modelId, round.baseVersion);
  if (!base) return 'base_missing';
  const { head, dataBytes } = encodeTensorHeader(placeTensors(fold.manifest).tensors);
  const blobKey = `version/${round.id}/${fold.fence}-${fold.sequence}`;
  await reserveBlob(deps.db.pool, blobKey, deps.clock.now());
  const writer = await deps.blobs.create(blobKey, { bytes: head.length + dataBytes });
  const hash = createHash('sha256').update(head);
  try {
    await writer.write(head);
    for await (const chunk of folds.finish(fold.id, readBase(deps, base, dataBytes))) {
      hash.update(chunk);
      await writer.write(chunk);
    }
    await deps.failpoint('publish.mid_blob');
    await writer.commit();
    return { blobKey, digest: hash.digest('hex'), bytes: writer.bytes };
  } catch (error) {
    await writer.abort();
    if (error instanceof NonFiniteError) return 'not_finite';
    if (error instanceof BlobMissingError || error instanceof DamagedBaseError) return 'base_missing';
    throw error;
  }
}

/** The base's data without its header; throws if the file's digest is not the published one. */
async function* readBase(
  deps: Deps,
  base: { blobKey: string; digest: string; bytes: number },
  dataBytes: number,
): AsyncIterable<Uint8Array> {
  const hash = createHash('sha256');
  let skip = base.bytes - dataBytes;
  for await (const chunk of deps.blobs.read(base.blobKey)) {
    hash.update(chunk);
    const skipped = Math.min(skip, chunk.length);
    skip -= skipped;
    if (skipped < chunk.length) yield chunk.subarray(skipped);
  }
  if (hash.digest('hex') !== base.digest) throw new DamagedBaseError(`blob ${base.blobKey} is damaged`);
}
