import { createHash } from 'node:crypto';
import type { Deps } from '../../deps.ts';
import { MAX_GATHERED_BYTES, type ReadBody } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { TensorHeader } from '../../domain/tensors.ts';
import type { Scanner } from '../../kernels/scanners.ts';
import type { Sealer } from '../../kernels/seals.ts';
import { type BlobWriter, countBytes } from '../../store/blobs/blob-store.ts';
import { createTensorStream, type StreamedFile, TensorFault } from './tensor-stream.ts';

interface ReceivedTensors {
  header: TensorHeader;
  norm: number;
}

/** A tensor file that is on its way. */
export interface Intake extends StreamedFile {
  /** The reserved key that the file is stored under. */
  key: string;
  /** SHA-256 of the whole file, hex, as it was declared. */
  digest: string;
  /** Sees the whole file. */
  sealer?: Sealer;
  body: ReadBody;
  /** Resolves when the key's row is there, where it is still under way: no blob is ever seen without one. */
  announced?: Promise<void>;
  /** The blob, where it is open already. It is committed or aborted. */
  opened?: BlobWriter | undefined;
  /** Called when the body's turn has come, before anything of it is read. What it throws ends the intake. */
  onTurn?(): Promise<void>;
}

/**
 * Receives a tensor file in one pass: stored, hashed, held against its plan, its values looked at. Memory is the
 * header and a few chunks. When it resolves the blob is durable under `key`; nobody refers to it yet.
 *
 * `norm` is the L2 norm over all planned segments. Throws `malformed` (with `reason`, as soon as it shows),
 * `digest_mismatch`, or what the body throws; then no blob is left.
 */
export async function receiveTensors(
  { blobs, createScanner }: Pick<Deps, 'blobs' | 'createScanner'>,
  intake: Intake,
): Promise<ReceivedTensors> {
  const { key, bytes } = intake;
  const check = checkTensors(intake, createScanner());
  let received: ReceivedTensors | undefined;
  let writer: BlobWriter | undefined;
  const begin = async () => {
    await intake.onTurn?.();
    // A large body is not asked for in vain; a small one is on its way already.
    if (bytes > MAX_GATHERED_BYTES) writer = await blobs.create(key, { bytes });
  };
  try {
    for await (const pieces of intake.body(check.push, begin)) {
      const isWhole = !writer && countBytes(pieces) === bytes;
      if (isWhole) {
        received = check.finish();
        await intake.announced;
      }
      writer ??= intake.opened ?? (await blobs.create(key, { bytes, whole: isWhole }));
      await writer.write(pieces);
    }
    if ((writer?.bytes ?? 0) !== bytes) throw new FedEdgeError('body_incomplete');
    received ??= check.finish();
    await intake.announced;
    await writer?.commit();
    return received;
  } catch (error) {
    await (writer ?? intake.opened)?.abort();
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
