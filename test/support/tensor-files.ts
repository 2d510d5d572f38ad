import { createHash } from 'node:crypto';
import { type Dtype, dtypeBytes, elementCount, encodeTensorHeader } from '../../api/domain/tensors.ts';

export interface TestTensor {
  name: string;
  shape: number[];
  dtype?: Dtype;
  /** F32 values or raw bytes; zeros where there are none. */
  values?: readonly number[];
  bytes?: Uint8Array;
}

/** A tensor file. Values are written as F32, I32 or U8. */
export function tensorFile(tensors: readonly TestTensor[], metadata: Record<string, string> = {}): Buffer {
  const described = tensors.map(({ name, shape, dtype = 'F32' }) => ({ name, shape, dtype }));
  const { head } = encodeTensorHeader(described, metadata);
  return Buffer.concat([head, ...tensors.map(dataOf)]);
}

/** A tensor file whose JSON is exactly this text, however wrong. */
export function rawFile(json: string, data: Uint8Array = new Uint8Array()): Buffer {
  const text = Buffer.from(json);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function digestField(bytes: Uint8Array): string {
  return `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
}

/** An init for `app.request` with a raw body and what it has to declare; `headers` replace. */
export function rawRequest(
  method: string,
  body: Uint8Array,
  headers: Record<string, string | undefined> = {},
): RequestInit {
  const declared: Record<string, string | undefined> = {
    'content-type': 'application/octet-stream',
    'content-length': String(body.byteLength),
    'content-digest': digestField(body),
    ...headers,
  };
  const kept = Object.entries(declared).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return { method, body: new Uint8Array(body), headers: Object.fromEntries(kept) };
}

function dataOf({ shape, dtype = 'F32', values, bytes }: TestTensor): Uint8Array {
  if (bytes) return bytes;
  if (!values) return new Uint8Array(elementCount(shape) * dtypeBytes(dtype));
  if (dtype === 'I32') return new Uint8Array(Int32Array.from(values).buffer);
  if (dtype === 'U8') return Uint8Array.from(values);
  return new Uint8Array(Float32Array.from(values).buffer);
}
