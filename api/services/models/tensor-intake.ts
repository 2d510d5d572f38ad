import { createHash } from 'node:crypto';
import type { Deps } from '../../deps.ts';
import { isGathered, type ReadBody } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { TensorHeader } from '../../domain/tensors.ts';
import type { Scanner } from '../../kernels/scanners.ts';
import type { Sealer } from '../../kernels/seals.ts';
import { type BlobWriter, countBytes } from '../../store/blobs/blob-store.ts';
import { createTensorStream, type StreamedFile, TensorFault } from './tensor-stream.ts';

/** A reserved place in the store. */
export interface Place {
  key: string;
  /** Resolves when the key's row is there, where it is still under way: no blob is ever seen without one. */
  announced?: Promise<void>;
  /** The blob, where it is open already to be written at once. It is committed or aborted. */
  opened?: BlobWriter | undefined;
}

interface ReceivedTensors {
  header: TensorHeader;
  norm: number;
}

/** A tensor file that is on its way. */
export interface Intake extends StreamedFile {
  /** Where to store the file, asked once: when its whole is there, or before what is stored as it comes. */
  claim(isWhole: boolean): Place;
  /** SHA-256 of the whole file, hex, as it was declared. */
  digest: string;
  /** Sees the whole file. */
  sealer?: Sealer;
  body: ReadBody;
  /** Called when the body's turn has come, before anything of it is read. What it throws ends the intake. */
  onTurn?(): Promise<void>;
}

/**
 * Receives a tensor file in one pass: stored, hashed, held against its plan, its values looked at. Memory is the
 * header and a few chunks. When it resolves the blob is durable under the key of its place; nobody refers to it yet.
 *
 * `norm` is the L2 norm over all planned segments. Throws `malformed` (with `reason`, as soon as it shows),
 * `digest_mismatch`, or what the body throws; then no blob is left.
 */
export async function receiveTensors(
  { blobs, createScanner }: Pick<Deps, 'blobs' | 'createScanner'>,
  intake: Intake,
): Promise<ReceivedTensors> {
  const { bytes } = intake;
  const check = checkTensors(intake, createScanner());
  let received: ReceivedTensors | undefined;
  let place: Place | undefined;
  let writer: BlobWriter | undefined;
  const open = async (isWhole: boolean) => {
    place = intake.claim(isWhole);
    if (isWhole) await place.announced;
    writer = place.opened ?? (await blobs.create(place.key, { bytes, whole: isWhole }));
    return writer;
  };
  const begin = async () => {
    await intake.onTurn?.();
    // A large body is not asked for in vain; a small one is on its way already.
    if (!isGathered(bytes)) await open(false);
  };
  try {
    for await (const pieces of intake.body(check.push, begin)) {
      const isWhole = !writer && countBytes(pieces) === bytes;
      if (isWhole) received = check.finish();
      await (writer ?? (await open(isWhole))).write(pieces);
    }
    if ((writer?.bytes ?? 0) !== bytes) throw new FedEdgeError('body_incomplete');
    received ??= check.finish();
    await place?.announced;
    await writer?.commit();
    return received;
  } catch (error) {
    await writer?.abort();
    throw error instanceof TensorFault
      ? new FedEdgeError('malformed', { reason: error.message }, { cause: error })
      : error;
  }
}

/** Looks at a file piece by piece. */
function checkTensors(intake: Intake, scanner: Scanner) {
  const stream = createTensorStream(intake, scanner);
  const hash = createHash('sha256');
  return {
    push(piece: Uint8Array): void {
      stream.push(piece);
      hash.update(piece);
      intake.sealer?.push(piece);
    },
    /** After the last piece. */
    finish(): ReceivedTensors {
      if (hash.digest('hex') !== intake.digest) throw new FedEdgeError('digest_mismatch');
      return stream.finish();
    },
  };
}
