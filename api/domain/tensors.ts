/**
 * The tensor file codec: safetensors (https://github.com/huggingface/safetensors#format).
 *
 *   8 bytes   header length N, unsigned little-endian
 *   N bytes   JSON: { "__metadata__": {string: string}, NAME: { dtype, shape, data_offsets: [start, end] } }
 *   rest      the tensors' bytes, little-endian, without gaps
 *
 * Pure and shared with the clients. Everything here treats its input as hostile.
 */

const DTYPE_BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type Dtype = keyof typeof DTYPE_BYTES;

/** One tensor of a file; `start` and `end` are byte offsets into the data that follows the header. */
export interface TensorEntry {
  name: string;
  dtype: Dtype;
  shape: number[];
  start: number;
  end: number;
}

export interface TensorHeader {
  entries: TensorEntry[];
  metadata: Record<string, string>;
  /** Bytes before the data: the length field and the JSON. */
  headerBytes: number;
  dataBytes: number;
}

export type HeaderResult = { ok: true; header: TensorHeader } | { ok: false; reason: string };

export const TENSOR_LENGTH_BYTES = 8;
export const MAX_HEADER_BYTES = 1 << 20;
const MAX_TENSORS = 4096;
const MAX_RANK = 8;
const MAX_NAME_LENGTH = 256;
const MAX_METADATA_ENTRIES = 64;

export function dtypeBytes(dtype: Dtype): number {
  return DTYPE_BYTES[dtype];
}

/** The number of elements of a shape; a scalar (`[]`) has one. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Reads the length field. The caller has at least 8 bytes; a length beyond the limit is refused before it is awaited. */
export function readHeaderLength(
  bytes: Uint8Array,
): { ok: true; jsonBytes: number } | { ok: false; reason: string } {
  if (bytes.length < TENSOR_LENGTH_BYTES) return refuse('the file is shorter than its 8-byte length field');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) return refuse(`the header is longer than ${MAX_HEADER_BYTES} bytes`);
  if (length < 2n) return refuse('the header is empty');
  return { ok: true, jsonBytes: Number(length) };
}

/** Parses the whole head (length field and JSON) of a tensor file. */
export function parseTensorHeader(head: Uint8Array): HeaderResult {
  const length = readHeaderLength(head);
  if (!length.ok) return length;
  const headerBytes = TENSOR_LENGTH_BYTES + length.jsonBytes;
  if (head.length < headerBytes) return refuse('the file ends inside its header');
  const parsed = parseJson(head.subarray(TENSOR_LENGTH_BYTES, headerBytes));
  if (parsed === undefined) return refuse('the header is not a JSON object in UTF-8');
  return readEntries(parsed, headerBytes);
}

/** Lays tensors out in the given order and writes the head that describes them. */
export function encodeTensorHeader(
  tensors: readonly { name: string; dtype: Dtype; shape: readonly number[] }[],
  metadata: Record<string, string> = {},
): { head: Uint8Array; entries: TensorEntry[]; dataBytes: number } {
  let offset = 0;
  const entries = tensors.map(({ name, dtype, shape }) => {
    const start = offset;
    offset += elementCount(shape) * dtypeBytes(dtype);
    return { name, dtype, shape: [...shape], start, end: offset };
  });
  // fromEntries defines own properties, also for a name like __proto__.
  const json = Object.fromEntries<unknown>([
    ...(Object.keys(metadata).length > 0 ? [['__metadata__', metadata] as const] : []),
    ...entries.map(
      ({ name, dtype, shape, start, end }) => [name, { dtype, shape, data_offsets: [start, end] }] as const,
    ),
  ]);
  return { head: frameJson(JSON.stringify(json)), entries, dataBytes: offset };
}

/** The JSON is padded with spaces so that the data begins on an 8-byte boundary and can be viewed in place. */
function frameJson(text: string): Uint8Array {
  const json = new TextEncoder().encode(text);
  const padded = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(TENSOR_LENGTH_BYTES + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, TENSOR_LENGTH_BYTES);
  return head;
}

function parseJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch {
    return undefined;
  }
}

function readEntries(json: Record<string, unknown>, headerBytes: number): HeaderResult {
  const metadata = readMetadata(Object.hasOwn(json, '__metadata__') ? json.__metadata__ : {});
  if (!metadata) return refuse('__metadata__ is not a small object of strings');
  const names = Object.keys(json).filter((name) => name !== '__metadata__');
  if (names.length > MAX_TENSORS) return refuse(`the file has more than ${MAX_TENSORS} tensors`);
  const entries: TensorEntry[] = [];
  for (const name of names) {
    const entry = readEntry(name, json[name]);
    if (typeof entry === 'string') return refuse(`tensor ${JSON.stringify(name.slice(0, 80))}: ${entry}`);
    entries.push(entry);
  }
  entries.sort((a, b) => a.start - b.start || a.end - b.end);
  let end = 0;
  for (const entry of entries) {
    if (entry.start !== end) return refuse(`the data has a gap or an overlap at byte ${end}`);
    end = entry.end;
  }
  return { ok: true, header: { entries, metadata, headerBytes, dataBytes: end } };
}

function readEntry(name: string, value: unknown): TensorEntry | string {
  const entry = asObject(value);
  if (!entry) return 'its description is not an object';
  if (name.length === 0 || name.length > MAX_NAME_LENGTH)
    return `its name is empty or over ${MAX_NAME_LENGTH}`;
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) return 'its dtype is unknown';
  if (!isSizes(shape) || shape.length > MAX_RANK)
    return `its shape is not a list of at most ${MAX_RANK} sizes`;
  if (!isSizes(offsets) || offsets.length !== 2) return 'its data_offsets are not [start, end]';
  const [start, end] = offsets as [number, number];
  const bytes = elementCount(shape) * dtypeBytes(dtype as Dtype);
  if (!Number.isSafeInteger(bytes) || end - start !== bytes)
    return 'its data_offsets do not fit its shape and dtype';
  return { name, dtype: dtype as Dtype, shape, start, end };
}

function readMetadata(value: unknown): Record<string, string> | undefined {
  const object = asObject(value);
  if (!object) return undefined;
  const entries = Object.entries(object);
  if (entries.length > MAX_METADATA_ENTRIES) return undefined;
  if (!entries.every(([, text]) => typeof text === 'string')) return undefined;
  return object as Record<string, string>;
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function refuse(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}
