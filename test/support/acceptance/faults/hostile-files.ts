import { encodeFile, type FileTensor, frameFile, toBf16Bytes, toF32Bytes } from '../tensor-files.ts';
import { type Layout, type MadeUpdate, sizeOf } from '../updates.ts';

const goodMetadata = { num_examples: '10', metrics: '{"loss":0.5}', encoding: 'f32' };

/** The update that all of those are made from, and that is good: zeros. */
export function goodUpdate(layout: readonly Layout[]): MadeUpdate {
  const zeros = layout.map((tensor) => filled(tensor, 0));
  const values = new Float32Array(sizeOf(layout));
  return { file: encodeFile(zeros, goodMetadata), values, numExamples: 10, loss: 0.5 };
}

/** Update files that are wrong in one way each, for a model with this layout of at least two tensors. */
export function hostileFiles(layout: readonly Layout[]): Record<string, Buffer> {
  const zeros = layout.map((tensor) => filled(tensor, 0));
  const [first, ...others] = zeros as [FileTensor, ...FileTensor[]];
  const good = encodeFile(zeros, goodMetadata);
  const withFirst = (change: Partial<FileTensor>) =>
    encodeFile([{ ...first, ...change }, ...others], goodMetadata);
  const withMetadata = (change: Record<string, string>) => encodeFile(zeros, { ...goodMetadata, ...change });
  const { num_examples: _, ...withoutExamples } = goodMetadata;
  return {
    'ends early': good.subarray(0, good.length - 4),
    'ends inside its header': good.subarray(0, 20),
    'is empty but for its length': good.subarray(0, 8),
    'has a trailing byte': Buffer.concat([good, Buffer.from([0])]),
    'has a NaN': encodeFile([filled(layout[0]!, Number.NaN), ...others], goodMetadata),
    'has an infinity': encodeFile([filled(layout[0]!, Number.POSITIVE_INFINITY), ...others], goodMetadata),
    'ends with a negative infinity': Buffer.concat([
      good.subarray(0, good.length - 4),
      toF32Bytes([Number.NEGATIVE_INFINITY]),
    ]),
    'has a NaN in bfloat16': encodeFile(
      layout.map((tensor) => asBf16(filled(tensor, Number.NaN))),
      { ...goodMetadata, encoding: 'bf16' },
    ),
    'has another shape': withFirst({ shape: first.shape.toReversed() }),
    'has a flat shape': withFirst({ shape: [sizeOf([first])] }),
    'has another dtype than it says': withMetadata({ encoding: 'bf16' }),
    'has another name': withFirst({ name: 'kernel2' }),
    'lacks a tensor': encodeFile([first], goodMetadata),
    'has one tensor more': encodeFile([...zeros, { ...first, name: 'extra' }], goodMetadata),
    'has an unknown encoding': withMetadata({ encoding: 'pickle' }),
    'has no examples': encodeFile(zeros, withoutExamples),
    'has zero examples': withMetadata({ num_examples: '0' }),
    'has negative examples': withMetadata({ num_examples: '-5' }),
    'has half an example': withMetadata({ num_examples: '1.5' }),
    'has infinite examples': withMetadata({ num_examples: '1e400' }),
    'has metrics that are no numbers': withMetadata({ metrics: '{"loss":"low"}' }),
    'has an infinite metric': withMetadata({ metrics: '{"loss":1e999}' }),
    ...hostileHeaders(first, others, good),
  };
}

function hostileHeaders(
  first: FileTensor,
  others: readonly FileTensor[],
  good: Buffer,
): Record<string, Buffer> {
  const size = first.data.length;
  const rest = Buffer.concat(others.map(({ data }) => data));
  const describe = (start: number, end: number) => ({
    dtype: 'F32',
    shape: first.shape,
    data_offsets: [start, end],
  });
  const frame = (entries: Record<string, unknown>, ...data: Buffer[]) =>
    frameFile(JSON.stringify({ __metadata__: goodMetadata, ...entries }), ...data);
  const lying = (length: bigint) => {
    const file = Buffer.from(good);
    file.writeBigUInt64LE(length);
    return file;
  };
  const { name } = first;
  return {
    'claims a header of 2^63 bytes': lying(2n ** 63n),
    'claims a header longer than itself': lying(BigInt(good.length)),
    'claims a header of no bytes': lying(0n),
    'has a list for a header': frameFile('[]', first.data, rest),
    'has a header that is no JSON': frameFile('{"kernel":', first.data, rest),
    'has a header that is no UTF-8': frameFile(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), first.data, rest),
    'has a header of nothing but brackets': frameFile('['.repeat(100_000), first.data, rest),
    'has tensors that overlap': frame(
      { [name]: describe(0, size), bias: describe(0, size) },
      first.data,
      rest,
    ),
    'has a gap': frame({ [name]: describe(8, size + 8) }, Buffer.alloc(8), first.data, rest),
    'has negative offsets': frame({ [name]: describe(-8, size - 8) }, first.data, rest),
    'has offsets beyond its end': frame({ [name]: describe(0, 2 ** 53) }, first.data, rest),
    'has a tensor called __proto__': frameFile(
      `{"__proto__":${JSON.stringify(describe(0, size))}}`,
      first.data,
      rest,
    ),
    'has metadata that is no text': frame(
      { __metadata__: { num_examples: 10 }, [name]: describe(0, size) },
      first.data,
    ),
  };
}

function filled(tensor: Layout, value: number): FileTensor {
  const values = new Float32Array(sizeOf([tensor])).fill(value);
  return { ...tensor, dtype: 'F32', data: toF32Bytes(values) };
}

function asBf16(tensor: FileTensor): FileTensor {
  const values = Float32Array.from({ length: tensor.data.length / 4 }, (_, i) =>
    tensor.data.readFloatLE(i * 4),
  );
  return { ...tensor, dtype: 'BF16', data: toBf16Bytes(values) };
}
