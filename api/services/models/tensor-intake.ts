import { createHash } from 'node:crypto';
import type { Deps } from '../../deps.ts';
import { MAX_GATHERED_BYTES, type ReadBody } from '../../domain/body.ts';
import { FedEdgeError } from '../../domain/errors.ts';
import type { TensorHeader } from '../../domain/tensors.ts';
import type { Sealer } from '../../kernels/seals.ts';
import { createTensorStream, type StreamedFile, TensorFault } from './tensor-stream.ts';

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
}

/**
 * Receives a tensor file in one pass: stored, hashed, held against its plan, its values looked at. Memory is the
 * header and a few chunks. When it resolves the blob is durable under `key`; nobody refers to it yet.
 *
 * `norm` is the L2 norm over all planned segments. Throws `malformed` (with `reason`, as soon as it shows),
 * `digest_mismatch`, or what the body throws; then no blob is left.
 */
export async function receiveTensors(
  deps: Pick<Deps, 'blobs' | 'createScanner'>,
  intake: Intake,
): Promise<{ header: TensorHeader; norm: number }> {
  const stream = createTensorStream(intake, deps.createScanner());
  const hash = createHash('sha256');
  let outage: { error: unknown } | undefined;
  const look = (piece: Uint8Array) => {
    if (outage) throw outage.error;
    stream.push(piece);
    hash.update(piece);
    intake.sealer?.push(piece);
  };
  // A small body is on its way already, and has come by the time that the store is open.
  const opening = deps.blobs.create(intake.key, { bytes: intake.bytes });
  // Not unhandled, which would end the process, until somebody awaits it.
  opening.catch((error: unknown) => {
    outage = { error };
  });
  try {
    // A large one is not asked for in vain.
    if (intake.bytes > MAX_GATHERED_BYTES) await opening;
    for await (const pieces of intake.body(look)) await (await opening).write(pieces);
    const writer = await opening;
    if (writer.bytes !== intake.bytes) throw new FedEdgeError('body_incomplete');
    if (hash.digest('hex') !== intake.digest) throw new FedEdgeError('digest_mismatch');
    const received = stream.finish();
    await intake.announced;
    await writer.commit();
    return received;
  } catch (error) {
    await opening.then(
      (writer) => writer.abort(),
      () => undefined,
    );
    throw error instanceof TensorFault
      ? new FedEdgeError('malformed', { reason: error.message }, { cause: error })
      : error;
  }
}
