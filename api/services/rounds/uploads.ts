import { createHash } from 'node:crypto';
import type { Deps } from '../../deps.ts';
import { bodyOf, type ReadBody } from '../../domain/body.ts';
import { FedEdgeError, type ProblemCode } from '../../domain/errors.ts';
import type { DevicePrincipal } from '../../domain/role.ts';
import type { BlobWriter } from '../../store/blobs/blob-store.ts';
import { newId } from '../../store/ids.ts';
import { abandonBlob, reserveBlob } from '../../store/models/blob-rows.ts';
import {
  appendPart,
  countParts,
  findUpload,
  insertUpload,
  listParts,
  listUploadIds,
  completeUpload as markComplete,
  removeUploads,
  retireParts,
  type UploadRow,
} from '../../store/rounds/uploads.ts';
import { admitUpdate, countAdmission, mostUpdateBytes, type Receipt } from './admissions.ts';
import { requireAssignment } from './assignments.ts';
import { submitUpdate } from './updates.ts';

/** How long an upload may take from its beginning. */
export const UPLOAD_LIFETIME_MS = 24 * 3_600_000;
/** Every cut connection costs a part. */
const MAX_PARTS = 4096;
/** What says nothing about the update itself: the same request may succeed later. */
const PASSING: readonly ProblemCode[] = ['unavailable', 'shutting_down', 'internal', 'body_incomplete'];

/** Bytes for an upload, from `start` on. */
export interface Append {
  start: number;
  /** Declared length of the body. */
  bytes: number;
  /** SHA-256 (hex) of this body alone, where it was declared. */
  digest: string | undefined;
  /** True if the body is meant to be the last one. */
  completes: boolean;
  /** The whole's length, where it was said again. */
  totalBytes: number | undefined;
  body: ReadBody;
}

/**
 * Begins the resumable upload of an assignment's update, in place of one that was begun before. `bytes` and `digest`
 * are the whole file's. The update is admitted first, as if it came in one request: throws the same refusals, and gives
 * the first receipt if the same update was acknowledged already.
 */
export async function beginUpload(
  deps: Deps,
  device: DevicePrincipal,
  assignmentId: string,
  whole: { bytes: number; digest: string },
): Promise<{ receipt: Receipt } | { upload: UploadRow; maxBytes: number }> {
  const assignment = await requireAssignment(deps, device, assignmentId);
  const receipt = await countAdmission(deps, async () => admitUpdate(deps, assignment, whole));
  if (receipt) return { receipt };
  const createdAt = deps.clock.now();
  const upload: UploadRow = {
    ...whole,
    id: newId(createdAt),
    federationId: device.federationId,
    assignmentId,
    deviceId: device.id,
    offset: 0,
    complete: false,
    createdAt,
    expiresAt: new Date(createdAt.getTime() + UPLOAD_LIFETIME_MS),
  };
  await deps.db.transaction(async (tx) => {
    await removeUploads(tx, await listUploadIds(tx, assignmentId));
    await insertUpload(tx, upload);
  });
  const maxBytes = mostUpdateBytes(deps, assignment);
  return { upload, maxBytes };
}

/** A device's own upload. Throws `not_found` for another's, and once it has expired. */
export async function requireUpload(deps: Deps, device: DevicePrincipal, id: string): Promise<UploadRow> {
  const upload = await findUpload(deps.db.pool, { ...device, deviceId: device.id }, id, deps.clock.now());
  if (!upload) throw new FedEdgeError('not_found');
  return upload;
}

/**
 * Appends a body to an upload, durably. A body that is cut leaves what came of it, and `body_incomplete` is thrown.
 * Of several appends for one offset, on whichever replicas, one succeeds; the others throw `upload_offset` with the
 * offset that counts. Also throws `upload_length`, `upload_complete`, `digest_mismatch`.
 *
 * The upload that is returned is complete if this body was the last one: `completeUpload` is to be called next.
 */
export async function appendToUpload(
  deps: Deps,
  device: DevicePrincipal,
  uploadId: string,
  append: Append,
): Promise<UploadRow> {
  const upload = await requireUpload(deps, device, uploadId);
  if (upload.complete && append.completes && append.bytes === 0) return upload;
  if (upload.complete) throw new FedEdgeError('upload_complete');
  assertFits(upload, append);
  if ((await countParts(deps.db.pool, uploadId)) >= MAX_PARTS) {
    throw new FedEdgeError('conflict', { reason: `an upload has at most ${MAX_PARTS} parts: begin anew` });
  }
  if (append.bytes > 0) await appendBody(deps, device, upload, append);
  else if (append.completes && !(await markComplete(deps.db.pool, uploadId))) {
    throw new FedEdgeError('upload_length', { bytes: upload.bytes });
  }
  return requireUpload(deps, device, uploadId);
}

/**
 * Submits the update that a complete upload holds. A repeat gets the first receipt. A refusal ends the upload; after an
 * outage it can be repeated.
 */
export async function completeUpload(
  deps: Deps,
  device: DevicePrincipal,
  upload: UploadRow,
): Promise<Receipt> {
  const { id, assignmentId, bytes, digest } = upload;
  const body = bodyOf(() => readParts(deps, id));
  try {
    const receipt = await submitUpdate(deps, device, assignmentId, { bytes, digest, body });
    await deps.db.transaction((tx) => retireParts(tx, id));
    return receipt;
  } catch (error) {
    if (error instanceof FedEdgeError && !PASSING.includes(error.code)) await removeUpload(deps, id);
    throw error;
  }
}

/** Ends an upload and drops what it holds. */
export async function cancelUpload(deps: Deps, device: DevicePrincipal, uploadId: string): Promise<void> {
  const { id } = await requireUpload(deps, device, uploadId);
  await removeUpload(deps, id);
}

function removeUpload({ db }: Deps, id: string): Promise<void> {
  return db.transaction((tx) => removeUploads(tx, [id]));
}

function assertFits(upload: UploadRow, { start, bytes, completes, totalBytes }: Append): void {
  if (start !== upload.offset) throw wrongOffset(upload.offset, start);
  const end = start + bytes;
  const agrees =
    end <= upload.bytes &&
    (!completes || end === upload.bytes) &&
    (totalBytes === undefined || totalBytes === upload.bytes);
  if (!agrees) throw new FedEdgeError('upload_length', { bytes: upload.bytes });
}

function wrongOffset(expected: number, provided: number): FedEdgeError {
  return new FedEdgeError('upload_offset', { 'expected-offset': expected, 'provided-offset': provided });
}

async function appendBody(
  deps: Deps,
  device: DevicePrincipal,
  upload: UploadRow,
  append: Append,
): Promise<void> {
  const startedAt = deps.clock.now();
  // Not by its start alone: a dead attempt may hold that name.
  const blobKey = `upload/${upload.id}/${append.start}/${newId(startedAt)}`;
  await reserveBlob(deps.db.pool, blobKey, startedAt);
  try {
    const { bytes, cut } = await receivePart(deps, blobKey, append);
    const completes = append.completes && !cut;
    const part = { uploadId: upload.id, start: append.start, bytes, blobKey, completes };
    await deps.db.transaction(async (tx) => {
      if (!(await appendPart(tx, { ...part, now: deps.clock.now() }))) throw new Overtaken();
    });
    if (cut) throw cut;
  } catch (error) {
    await abandonBlob(deps.db.pool, blobKey).catch(() => undefined);
    if (!(error instanceof Overtaken)) throw error;
    const { offset } = await requireUpload(deps, device, upload.id);
    throw wrongOffset(offset, append.start);
  }
}

/** Another append took the place, or the sweeper the blob: rolls the transaction back and never leaves this file. */
class Overtaken extends Error {}

/** Writes the body to a durable blob; of a cut one, what came. Throws `digest_mismatch`, and the cut if nothing came. */
async function receivePart(
  deps: Deps,
  key: string,
  { bytes, digest, body }: Append,
): Promise<{ bytes: number; cut: FedEdgeError | undefined }> {
  const hash = createHash('sha256');
  const writer = await deps.blobs.create(key, { bytes });
  try {
    const cut = await writeUntilCut(
      writer,
      body((piece) => void (digest !== undefined && hash.update(piece))),
    );
    if (cut && writer.bytes === 0) throw cut;
    if (!cut && digest !== undefined && hash.digest('hex') !== digest) {
      throw new FedEdgeError('digest_mismatch');
    }
    await writer.commit();
    return { bytes: writer.bytes, cut };
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

async function writeUntilCut(
  writer: BlobWriter,
  body: AsyncIterable<readonly Uint8Array[]>,
): Promise<FedEdgeError | undefined> {
  try {
    for await (const pieces of body) await writer.write(pieces);
    return undefined;
  } catch (error) {
    if (error instanceof FedEdgeError && error.code === 'body_incomplete') return error;
    throw error;
  }
}

async function* readParts(deps: Deps, uploadId: string): AsyncGenerator<Uint8Array> {
  for (const { blobKey, bytes } of await listParts(deps.db.pool, uploadId)) {
    yield* deps.blobs.read(blobKey, { start: 0, end: bytes });
  }
}
