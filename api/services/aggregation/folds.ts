import type { Manifest } from '../../domain/manifest.ts';
import { parseTensorHeader, readHeaderLength, TENSOR_LENGTH_BYTES } from '../../domain/tensors.ts';
import { planUpdate, type UpdateSegment } from '../../domain/update.ts';
import { FoldRequestError, FoldSourceError } from '../../kernels/folds/fold-errors.ts';
import { BlobMissingError, type BlobStore, BlobUnavailableError } from '../../store/blobs/blob-store.ts';
import { type FoldableUpdate, lockFold, rejectUpdate } from '../../store/rounds/leases.ts';
import { tracedInRound } from '../../tracing/spans.ts';
import { type Fold, type FoldContext, renewHold } from './holds.ts';

/** Enough for the headers of most files, so that they are read at once. */
const HEADER_BYTES = 65_536;

/**
 * Folds the next update of a round. False: the fold is spoiled, drop it and take it up again; an update whose bytes are
 * not what was acknowledged has been `rejected`. Throws LeaseLostError.
 */
export async function addUpdate(context: FoldContext, fold: Fold, update: FoldableUpdate): Promise<boolean> {
  const { deps } = context;
  if (update.sequence !== fold.sequence + 1) return false;
  await renewHold(context, fold);
  if (update.state === 'accepted') {
    const { sequence, bytes } = update;
    const attributes = { 'fededge.sequence': sequence, 'fededge.bytes': bytes };
    const fault = await tracedInRound(fold.roundId, 'fold', attributes, () =>
      foldFile(context, fold, update),
    );
    if (fault) {
      await reject(context, fold, update, fault);
      return false;
    }
    await deps.failpoint('fold.after_update');
  }
  fold.sequence = update.sequence;
  fold.sinceCheckpoint.updates += 1;
  fold.sinceCheckpoint.bytes += update.bytes;
  return true;
}

type Fault = 'blob_missing' | 'blob_corrupt';

async function foldFile(
  context: FoldContext,
  fold: Fold,
  { blobKey, weight, seal, bytes }: FoldableUpdate,
): Promise<Fault | undefined> {
  const { deps, folds } = context;
  const endTimer = deps.metrics.foldSeconds.startTimer();
  try {
    const plan = await readPlan(deps.blobs, fold.manifest, blobKey);
    if (!plan) return 'blob_corrupt';
    const source = deps.blobs.read(blobKey);
    const keep = () => renewHold(context, fold);
    const file = await folds.add(fold.id, { ...plan, weight, seal, bytes, source, keep });
    endTimer();
    deps.metrics.foldedBytes.inc(file.bytes);
    return file.isIntact ? undefined : 'blob_corrupt';
  } catch (error) {
    if (error instanceof BlobMissingError) return 'blob_missing';
    if (error instanceof FoldSourceError) throw new BlobUnavailableError(error.message, { cause: error });
    if (error instanceof FoldRequestError && error.fault === 'bad_segments') return 'blob_corrupt';
    throw error;
  }
}

async function reject(
  { deps }: FoldContext,
  fold: Fold,
  update: FoldableUpdate,
  fault: Fault,
): Promise<void> {
  const { assignmentId, blobKey } = update;
  await deps.db.transaction(async (tx) => {
    // Whoever folds no longer may see files that are gone.
    if (!(await lockFold(tx, fold.roundId, fold.fence))) return;
    deps.log.error({ update: assignmentId, blob: blobKey, fault }, 'an accepted update is damaged');
    await rejectUpdate(tx, assignmentId, fault);
  });
}

/**
 * Where the update's values lie, and the header that tells it: the seal is looked at when the file is read again, which
 * then has to begin with this header. Undefined if that is damaged. Scalars were checked at intake.
 */
async function readPlan(
  blobs: BlobStore,
  manifest: Manifest,
  key: string,
): Promise<{ segments: UpdateSegment[]; head: Uint8Array } | undefined> {
  const head = await readHead(blobs, key);
  if (!head) return undefined;
  const parsed = parseTensorHeader(head);
  if (!parsed.ok) return undefined;
  const planned = planUpdate(parsed.header, manifest, []);
  return planned.ok ? { segments: planned.plan.segments, head } : undefined;
}

async function readHead(blobs: BlobStore, key: string): Promise<Uint8Array | undefined> {
  const start = await readBytes(blobs, key, HEADER_BYTES);
  const length = readHeaderLength(start);
  if (!length.ok) return undefined;
  const headBytes = TENSOR_LENGTH_BYTES + length.jsonBytes;
  return headBytes > start.length ? readBytes(blobs, key, headBytes) : start.subarray(0, headBytes);
}

async function readBytes(blobs: BlobStore, key: string, end: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of blobs.read(key, { start: 0, end })) chunks.push(chunk.slice());
  return Buffer.concat(chunks);
}
