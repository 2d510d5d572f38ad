import type { Chunk, Range } from '../../domain/strategies/strategy.ts';
import type { EncodedValues } from '../../domain/strategies/vector.ts';
import { dtypeBytes } from '../../domain/tensors.ts';

/** A tensor's place: bytes [fileStart, fileEnd) of the update's file hold the elements from flatStart on. */
export interface Segment {
  fileStart: number;
  fileEnd: number;
  flatStart: number;
  dtype: EncodedValues['dtype'];
  /** For I8: value = scale * element. */
  scale?: number | undefined;
}

export type PlacedSegments = { ok: true; segments: Segment[] } | { ok: false; reason: string };

/**
 * Puts segments into file order and holds them against a range of the flattened model: they must not overlap
 * in the file and must cover every element of the range exactly once. What lies outside the range is skipped.
 */
export function placeSegments(unordered: readonly Segment[], range: Range): PlacedSegments {
  const fault = unordered.map(segmentFault).find((reason) => reason !== undefined);
  if (fault) return { ok: false, reason: fault };
  const segments = unordered
    .filter(({ fileStart, fileEnd }) => fileEnd > fileStart)
    .sort((a, b) => a.fileStart - b.fileStart);
  const overlap = segments.find((segment, index) => segment.fileStart < (segments[index - 1]?.fileEnd ?? 0));
  if (overlap) return { ok: false, reason: `segments overlap at byte ${overlap.fileStart} of the file` };
  const reason = coverageFault(segments, range);
  return reason ? { ok: false, reason } : { ok: true, segments };
}

function segmentFault({ fileStart, fileEnd, flatStart, dtype, scale }: Segment): string | undefined {
  if (![fileStart, fileEnd, flatStart].every((place) => Number.isSafeInteger(place) && place >= 0)) {
    return 'a segment has a place that is not a whole number';
  }
  if (!['F32', 'BF16', 'I8'].includes(dtype)) return `segments of dtype ${dtype} cannot be folded`;
  if (dtype === 'I8' && !Number.isFinite(scale)) return 'an I8 segment has no finite scale';
  if (fileEnd < fileStart || (fileEnd - fileStart) % dtypeBytes(dtype) !== 0) {
    return `bytes [${fileStart}, ${fileEnd}) are not whole elements of ${dtype}`;
  }
  return undefined;
}

function coverageFault(segments: readonly Segment[], range: Range): string | undefined {
  const rangeEnd = range.start + range.length;
  const spans = segments
    .map((segment) => ({ start: segment.flatStart, end: segment.flatStart + elementsOf(segment) }))
    .map(({ start, end }) => ({ start: Math.max(start, range.start), end: Math.min(end, rangeEnd) }))
    .filter(({ start, end }) => start < end)
    .sort((a, b) => a.start - b.start);
  let next = range.start;
  for (const { start, end } of spans) {
    if (start !== next) return `the segments have a gap or an overlap at element ${Math.min(start, next)}`;
    next = end;
  }
  return next === rangeEnd ? undefined : `the segments end at element ${next} of ${rangeEnd}`;
}

function elementsOf({ fileStart, fileEnd, dtype }: Segment): number {
  return (fileEnd - fileStart) / dtypeBytes(dtype);
}

/**
 * Cuts a file that arrives in chunks into the range's values, in file order; an element that two chunks share
 * is gathered first. `take` must not keep the bytes that it is given.
 */
export function createSegmentReader(
  segments: readonly Segment[],
  range: Range,
  take: (chunk: Chunk) => void,
): (bytes: Uint8Array) => void {
  const carry = new Uint8Array(8);
  let carried = 0;
  let position = 0;
  let index = 0;

  /** Reads from the segment's byte `file`; returns how many bytes it took. */
  function readSegment(segment: Segment, file: number, bytes: Uint8Array): number {
    const size = dtypeBytes(segment.dtype);
    if (carried === 0 && bytes.length >= size) {
      const whole = bytes.length - (bytes.length % size);
      takeInRange(segment, file, bytes.subarray(0, whole));
      return whole;
    }
    const taken = Math.min(size - carried, bytes.length);
    carry.set(bytes.subarray(0, taken), carried);
    carried += taken;
    if (carried === size) {
      carried = 0;
      takeInRange(segment, file + taken - size, carry.subarray(0, size));
    }
    return taken;
  }

  function takeInRange(
    { fileStart, flatStart, dtype, scale }: Segment,
    file: number,
    bytes: Uint8Array,
  ): void {
    const size = dtypeBytes(dtype);
    const first = flatStart + (file - fileStart) / size;
    const start = Math.max(first, range.start);
    const end = Math.min(first + bytes.length / size, range.start + range.length);
    if (start >= end) return;
    const part = bytes.subarray((start - first) * size, (end - first) * size);
    const values = { dtype, bytes: part, ...(scale === undefined ? {} : { scale }) };
    take({ start, length: end - start, values });
  }

  return (bytes) => {
    let at = 0;
    for (let segment = segments[index]; segment && at < bytes.length; segment = segments[index]) {
      const file = position + at;
      if (file < segment.fileStart) at += Math.min(segment.fileStart - file, bytes.length - at);
      else at += readSegment(segment, file, bytes.subarray(at, at + segment.fileEnd - file));
      if (position + at === segment.fileEnd) index += 1;
    }
    position += bytes.length;
  };
}
