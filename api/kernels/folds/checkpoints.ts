import type { Accumulator, Range } from '../../domain/strategies/strategy.ts';
import { encodeTensorHeader, parseTensorHeader } from '../../domain/tensors.ts';

const FORMAT = 'fededge-fold-1';
const F64_BYTES = 8;

/**
 * The head of a fold's checkpoint, which is a tensor file: one F64 tensor for each vector of the accumulator,
 * and in the metadata the strategy, the range and the scalars (as JSON, whose numbers round-trip f64
 * exactly).
 */
export function encodeCheckpointHead(strategy: string, { range, vectors, scalars }: Accumulator): Uint8Array {
  const tensors = vectors.map(({ length }, index) => ({
    name: `vector.${index}`,
    dtype: 'F64' as const,
    shape: [length],
  }));
  const metadata = {
    format: FORMAT,
    strategy,
    range: JSON.stringify(rangeText(range)),
    scalars: JSON.stringify(scalars),
  };
  return encodeTensorHeader(tensors, metadata).head;
}

export type CheckpointHead =
  | { ok: true; headerBytes: number; dataBytes: number; scalars: Record<string, number> }
  | { ok: false; reason: string };

/** Reads a checkpoint's head and holds it against the fold that it is to fill. */
export function readCheckpointHead(
  bytes: Uint8Array,
  strategy: string,
  accumulator: Accumulator,
): CheckpointHead {
  const parsed = parseTensorHeader(bytes);
  if (!parsed.ok) return parsed;
  const { entries, metadata, headerBytes, dataBytes } = parsed.header;
  if (metadata.format !== FORMAT) return { ok: false, reason: `it is not a ${FORMAT} file` };
  if (metadata.strategy !== strategy) return { ok: false, reason: `it is of strategy ${metadata.strategy}` };
  if (metadata.range !== JSON.stringify(rangeText(accumulator.range))) {
    return { ok: false, reason: `it is of range ${metadata.range}` };
  }
  // Chunks are cut at multiples of 8 bytes: so must the data begin.
  const fits =
    headerBytes % F64_BYTES === 0 &&
    entries.length === accumulator.vectors.length &&
    accumulator.vectors.every(
      ({ length }, index) => entries[index]?.end === entries[index]!.start + length * F64_BYTES,
    );
  if (!fits || !entries.every(({ dtype }) => dtype === 'F64')) {
    return { ok: false, reason: "its vectors are not the strategy's" };
  }
  const scalars = readScalars(metadata.scalars);
  return scalars
    ? { ok: true, headerBytes, dataBytes, scalars }
    : { ok: false, reason: 'its scalars are not numbers' };
}

function readScalars(text: string | undefined): Record<string, number> | undefined {
  try {
    const scalars = JSON.parse(text ?? '') as unknown;
    if (typeof scalars !== 'object' || scalars === null || Array.isArray(scalars)) return undefined;
    return Object.values(scalars).every(Number.isFinite) ? (scalars as Record<string, number>) : undefined;
  } catch {
    return undefined;
  }
}

function rangeText({ start, length }: Range): Range {
  return { start, length };
}
