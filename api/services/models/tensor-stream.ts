import {
  parseTensorHeader,
  readHeaderLength,
  TENSOR_LENGTH_BYTES,
  type TensorHeader,
} from '../../domain/tensors.ts';
import type { Scanner } from '../../kernels/scanners.ts';

/** Bytes [fileStart, fileEnd) of the file are values to look at. I8 values mean `scale` times the element. */
export interface ValueSegment {
  fileStart: number;
  fileEnd: number;
  dtype: 'F32' | 'BF16' | 'I8';
  scale?: number | undefined;
}

/** What the receiver makes of a header: where the values are, or why the file is not what was asked for. */
export type IntakePlan = { ok: true; segments: readonly ValueSegment[] } | { ok: false; reason: string };

export interface StreamedFile {
  /** The file's declared length. */
  bytes: number;
  plan(header: TensorHeader): IntakePlan;
}

/** A fault of the file, found as soon as its bytes show it. */
export class TensorFault extends Error {}

/** Follows a tensor file as it comes: the header first, then its values past the scanner. Holds the header alone. */
export interface TensorStream {
  /** The next bytes, which are not kept. Throws TensorFault. */
  push(chunk: Uint8Array): void;
  /** After the last byte. Throws TensorFault unless the file was whole and its values finite. */
  finish(): { header: TensorHeader; norm: number };
}

export function createTensorStream(file: StreamedFile, scanner: Scanner): TensorStream {
  const head = collectHead(file);
  let values: ReturnType<typeof scanValues> | undefined;
  let header: TensorHeader | undefined;
  let position = 0;

  return {
    push(chunk) {
      let rest = chunk;
      if (!header) {
        const taken = head.take(rest);
        position += taken;
        rest = rest.subarray(taken);
        header = head.header();
        if (header) values = scanValues(acceptHeader(file, header), scanner);
      }
      if (rest.byteLength === 0) return;
      values?.push(rest, position);
      position += rest.byteLength;
    },
    finish() {
      if (!header) throw new TensorFault('the file ends inside its header');
      if (position !== file.bytes) throw new TensorFault('the file does not have its declared length');
      const { finite, norm } = scanner.result();
      if (!finite) throw new TensorFault('a value is not finite');
      return { header, norm };
    },
  };
}

/** The file has to end where its last tensor ends; that shows in the header already. */
function acceptHeader(file: StreamedFile, header: TensorHeader): readonly ValueSegment[] {
  const end = header.headerBytes + header.dataBytes;
  if (end < file.bytes) throw new TensorFault(`${file.bytes - end} bytes follow the last tensor`);
  if (end > file.bytes) throw new TensorFault('the file ends before its last tensor does');
  const plan = file.plan(header);
  if (!plan.ok) throw new TensorFault(plan.reason);
  return plan.segments;
}

/** Gathers the length field and the JSON, never more. */
function collectHead({ bytes }: StreamedFile) {
  let buffer = new Uint8Array(TENSOR_LENGTH_BYTES);
  let filled = 0;

  function growToHeader(): void {
    const length = readHeaderLength(buffer);
    if (!length.ok) throw new TensorFault(length.reason);
    const total = TENSOR_LENGTH_BYTES + length.jsonBytes;
    if (total > bytes) throw new TensorFault('the file ends inside its header');
    const grown = new Uint8Array(total);
    grown.set(buffer);
    buffer = grown;
  }

  return {
    /** Returns how many bytes it took. */
    take(chunk: Uint8Array): number {
      let taken = 0;
      while (taken < chunk.byteLength && filled < buffer.byteLength) {
        const part = chunk.subarray(taken, taken + buffer.byteLength - filled);
        buffer.set(part, filled);
        filled += part.byteLength;
        taken += part.byteLength;
        if (filled === TENSOR_LENGTH_BYTES && buffer.byteLength === TENSOR_LENGTH_BYTES) growToHeader();
      }
      return taken;
    },
    header(): TensorHeader | undefined {
      if (buffer.byteLength === TENSOR_LENGTH_BYTES || filled < buffer.byteLength) return undefined;
      const parsed = parseTensorHeader(buffer);
      if (!parsed.ok) throw new TensorFault(parsed.reason);
      return parsed.header;
    },
  };
}

/** Cuts the data at the segments' borders and shows each segment to the scanner. */
function scanValues(planned: readonly ValueSegment[], scanner: Scanner) {
  const segments = planned
    .filter(({ fileStart, fileEnd }) => fileEnd > fileStart)
    .sort((a, b) => a.fileStart - b.fileStart);
  let next = 0;

  return {
    push(chunk: Uint8Array, chunkStart: number): void {
      const chunkEnd = chunkStart + chunk.byteLength;
      for (let segment = segments[next]; segment; segment = segments[next]) {
        const start = Math.max(segment.fileStart, chunkStart);
        const end = Math.min(segment.fileEnd, chunkEnd);
        if (start >= end) return;
        if (start === segment.fileStart) scanner.begin(segment.dtype, segment.scale);
        scanner.push(chunk.subarray(start - chunkStart, end - chunkStart));
        if (end < segment.fileEnd) return;
        scanner.end();
        next += 1;
      }
    },
  };
}
