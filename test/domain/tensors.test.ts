import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { weightsFault } from '../../api/domain/manifest.ts';
import { encodeTensorHeader, MAX_HEADER_BYTES, parseTensorHeader } from '../../api/domain/tensors.ts';

const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };

/** A head as an attacker writes it: any text, any length field. */
function frame(json: string | Uint8Array, length?: bigint): Uint8Array {
  const body = typeof json === 'string' ? new TextEncoder().encode(json) : json;
  const head = new Uint8Array(8 + body.length);
  new DataView(head.buffer).setBigUint64(0, length ?? BigInt(body.length), true);
  head.set(body, 8);
  return head;
}
const parse = (json: unknown) => parseTensorHeader(frame(JSON.stringify(json)));

const tensorName = fc.string({ minLength: 1, maxLength: 40 }).filter((name) => name !== '__metadata__');
const tensors = fc.uniqueArray(
  fc.record({
    name: tensorName,
    dtype: fc.constantFrom('F32' as const, 'BF16' as const, 'I8' as const, 'I32' as const, 'U8' as const),
    shape: fc.array(fc.nat(5), { maxLength: 4 }),
  }),
  { selector: ({ name }) => name, maxLength: 12 },
);

describe('the tensor file codec', () => {
  it('reads what it wrote', () => {
    fc.assert(
      fc.property(tensors, fc.dictionary(fc.string(), fc.string(), { maxKeys: 8 }), (specs, metadata) => {
        const { head, entries, dataBytes } = encodeTensorHeader(specs, metadata);
        const result = parseTensorHeader(head);
        expect(result.ok).toBe(true);
        if (!result.ok) return;
        expect(result.header.metadata).toEqual(metadata);
        expect(result.header.dataBytes).toBe(dataBytes);
        expect(result.header.headerBytes % 8).toBe(0);
        const byName = new Map(result.header.entries.map((found) => [found.name, found]));
        for (const written of entries) expect(byName.get(written.name)).toEqual(written);
      }),
    );
  });

  it('answers any bytes with a result, never with an exception', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(typeof parseTensorHeader(bytes).ok).toBe('boolean');
      }),
    );
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), (json) => {
        expect(typeof parseTensorHeader(frame(json)).ok).toBe('boolean');
      }),
    );
  });

  it.each([
    ['an empty file', new Uint8Array(0)],
    ['a cut length field', new Uint8Array(7)],
    ['a header beyond the limit', frame('{}', BigInt(MAX_HEADER_BYTES) + 1n)],
    ['a header of 2^64 - 1 bytes', frame('{}', 0xffff_ffff_ffff_ffffn)],
    ['an empty header', frame('', 0n)],
    ['a header cut off', frame('{"a":', 100n)],
    ['no JSON', frame('{"a": }')],
    ['a list', frame('[]')],
    ['null', frame('null')],
    ['bad UTF-8', frame(new Uint8Array([0x22, 0xff, 0xfe, 0x22]))],
    ['a deeply nested header', frame(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)],
  ])('refuses %s', (_name, head) => {
    expect(parseTensorHeader(head)).toMatchObject({ ok: false, reason: expect.any(String) });
  });

  it.each([
    ['an unknown dtype', { a: { ...entry, dtype: 'F8' } }],
    ['a dtype of the prototype', { a: { ...entry, dtype: 'toString' } }],
    ['offsets that do not fit the shape', { a: { ...entry, data_offsets: [0, 12] } }],
    ['reversed offsets', { a: { ...entry, data_offsets: [8, 0] } }],
    ['negative offsets', { a: { ...entry, data_offsets: [-8, 0] } }],
    ['fractional offsets', { a: { ...entry, data_offsets: [0.5, 8.5] } }],
    ['offsets beyond 2^53', { a: { dtype: 'F32', shape: [2 ** 60], data_offsets: [0, 2 ** 62] } }],
    [
      'a shape whose product overflows',
      { a: { dtype: 'F32', shape: [2 ** 40, 2 ** 40], data_offsets: [0, 8] } },
    ],
    ['a negative size', { a: { ...entry, shape: [-2] } }],
    ['a size that is text', { a: { ...entry, shape: ['2'] } }],
    ['nine dimensions', { a: { dtype: 'U8', shape: Array(9).fill(1), data_offsets: [0, 1] } }],
    ['an empty name', { '': entry }],
    ['a long name', { ['a'.repeat(257)]: entry }],
    ['a gap', { a: entry, b: { ...entry, data_offsets: [12, 20] } }],
    ['an overlap', { a: entry, b: { ...entry, data_offsets: [4, 12] } }],
    ['data that does not begin at 0', { a: { ...entry, data_offsets: [8, 16] } }],
    ['a description that is text', { a: 'F32' }],
    ['metadata with numbers', { __metadata__: { num_examples: 3 } }],
    ['metadata that is a list', { __metadata__: [] }],
    [
      'too much metadata',
      { __metadata__: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ''])) },
    ],
    ['too many tensors', Object.fromEntries(Array.from({ length: 4097 }, (_, i) => [`t${i}`, entry]))],
  ])('refuses %s', (_name, json) => {
    expect(parse(json)).toMatchObject({ ok: false, reason: expect.any(String) });
  });

  it('takes __proto__ for a name like any other', () => {
    const result = parseTensorHeader(
      frame('{"__proto__": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'),
    );
    expect(result).toMatchObject({ ok: true, header: { entries: [{ name: '__proto__' }] } });
    expect(({} as Record<string, unknown>).dtype).toBeUndefined();
  });
});

describe('weightsFault', () => {
  const manifest = {
    tensors: [
      { name: 'w', shape: [2, 3], dtype: 'F32' as const, role: 'trainable' as const },
      { name: 'mean', shape: [3], dtype: 'F32' as const, role: 'statistic' as const },
      { name: 'head', shape: [9], dtype: 'F32' as const, role: 'local' as const },
    ],
  };
  const w = { name: 'w', dtype: 'F32' as const, shape: [2, 3], start: 0, end: 24 };
  const mean = { name: 'mean', dtype: 'F32' as const, shape: [3], start: 24, end: 36 };

  it('takes what the manifest lets travel, in any order', () => {
    expect(weightsFault(manifest, [mean, w])).toBeUndefined();
  });

  it.each([
    ['a missing tensor', [w], 'mean is missing'],
    ['a local tensor', [w, mean, { ...mean, name: 'head', shape: [9] }], 'head is not in the manifest'],
    ['a wrong shape', [{ ...w, shape: [3, 2] }, mean], 'shape [3,2]'],
    ['a wrong dtype', [{ ...w, dtype: 'BF16' as const }, mean], 'dtype BF16'],
  ])('refuses %s', (_name, entries, reason) => {
    expect(weightsFault(manifest, entries)).toContain(reason);
  });
});
