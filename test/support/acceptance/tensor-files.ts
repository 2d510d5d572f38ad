/** The little of safetensors that a device needs. */
export interface FileTensor {
  name: string;
  shape: readonly number[];
  dtype: 'F32' | 'BF16';
  data: Buffer;
}

/** The tensors in this order, without a gap. */
export function encodeFile(
  tensors: readonly FileTensor[],
  metadata: Readonly<Record<string, string>> = {},
): Buffer {
  let end = 0;
  const entries = tensors.map(({ name, shape, dtype, data }) => {
    const start = end;
    end += data.length;
    return [name, { dtype, shape, data_offsets: [start, end] }];
  });
  const header = Object.fromEntries([['__metadata__', metadata], ...entries]);
  return frameFile(JSON.stringify(header), ...tensors.map(({ data }) => data));
}

/** A file whose header is exactly this text, however wrong, and whose length field may lie. */
export function frameFile(json: string | Buffer, ...data: Buffer[]): Buffer {
  const text = Buffer.from(json);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...data]);
}

export function decodeFile(file: Buffer): { header: Record<string, unknown>; data: Buffer } {
  const start = 8 + Number(file.readBigUInt64LE(0));
  return { header: JSON.parse(file.subarray(8, start).toString()), data: file.subarray(start) };
}

export function toF32Bytes(values: ArrayLike<number>): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (let i = 0; i < values.length; i += 1) bytes.writeFloatLE(values[i]!, i * 4);
  return bytes;
}

export function fromF32Bytes(bytes: Buffer): Float32Array {
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(i * 4));
}

/** The upper halves of the values: bfloat16 by truncation. */
export function toBf16Bytes(values: Float32Array): Buffer {
  const whole = toF32Bytes(values);
  const halves = Buffer.alloc(values.length * 2);
  for (let i = 0; i < values.length; i += 1) halves.writeUInt16LE(whole.readUInt16LE(i * 4 + 2), i * 2);
  return halves;
}

export function fromBf16Bytes(bytes: Buffer): Float32Array {
  const whole = Buffer.alloc(bytes.length * 2);
  for (let i = 0; i < bytes.length / 2; i += 1) whole.writeUInt16LE(bytes.readUInt16LE(i * 2), i * 4 + 2);
  return fromF32Bytes(whole);
}
