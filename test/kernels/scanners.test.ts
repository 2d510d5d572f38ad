import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EncodedValues } from '../../api/domain/strategies/vector.ts';
import { dtypeBytes } from '../../api/domain/tensors.ts';
import { createKernels } from '../../api/kernels/kernels.ts';
import { cutAtRandom, encodedValues, makeValues } from './arbitraries.ts';
import { f32Bytes, scanPlain } from './plain.ts';

const kernels = createKernels();

function scan(tensors: readonly EncodedValues[], cut: (bytes: Uint8Array) => Uint8Array[]) {
  const scanner = kernels.createScanner();
  for (const { dtype, bytes, scale } of tensors) {
    scanner.begin(dtype, scale);
    for (const piece of cut(bytes)) scanner.push(piece);
    scanner.end();
  }
  return scanner.result();
}

test('finds the plain version norm bit for bit, however the bytes are cut', () => {
  const property = fc.property(
    fc.array(encodedValues, { maxLength: 4 }),
    fc.integer({ min: 1 }),
    fc.constantFrom(3, 1000, 20_000, 300_000),
    (tensors, seed, longest) => {
      const expected = scanPlain(tensors);
      expect(expected.finite).toBe(true);
      expect(scan(tensors, (bytes) => [bytes])).toEqual(expected);
      expect(scan(tensors, (bytes) => cutAtRandom(bytes, seed, longest))).toEqual(expected);
    },
  );
  fc.assert(property, { numRuns: 60 });
});

test('gives the same bits byte by byte', () => {
  const tensors = (['F32', 'BF16', 'I8'] as const).map((dtype) => makeValues(dtype, 4099, 7));
  const bytewise = scan(tensors, (bytes) => Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)));
  expect(bytewise).toEqual(scanPlain(tensors));
});

test('the order of summation is fixed: a naive sum of the same values differs', () => {
  const tensor = makeValues('F32', 50_000, 11);
  const values = new Float32Array(tensor.bytes.slice().buffer);
  const naive = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  const { norm } = scan([tensor], (bytes) => [bytes]);
  expect(norm).not.toBe(naive);
  expect(norm).toBeCloseTo(naive, 3);
});

describe('finds what is not finite', () => {
  const bad = { NaN: Number.NaN, Infinity: Number.POSITIVE_INFINITY, '-Infinity': Number.NEGATIVE_INFINITY };
  const places = [1, 2, 8, 9, 4096, 4097, 40_001].flatMap((length) =>
    [...new Set([0, length >> 1, length - 1])].map((place) => ({ length, place })),
  );

  test.each(Object.entries(bad))('%s as F32 and BF16, at every place', (_name, value) => {
    for (const { length, place } of places) {
      const bytes = f32Bytes(new Float32Array(length).fill(value, place, place + 1));
      const halves = Uint8Array.from({ length: length * 2 }, (_, at) => bytes[(at >> 1) * 4 + 2 + (at % 2)]!);
      for (const tensor of [
        { dtype: 'F32', bytes },
        { dtype: 'BF16', bytes: halves },
      ] as const) {
        expect(scan([tensor], (all) => cutAtRandom(all, 3, 5000)).finite).toBe(false);
        expect(scan([tensor, makeValues('F32', 9, 1)], (all) => [all]).finite).toBe(false);
      }
    }
  });

  test('a scale', () => {
    const tensor = { dtype: 'I8', bytes: new Uint8Array(3), scale: Number.NaN } as const;
    expect(scan([tensor], (bytes) => [bytes]).finite).toBe(false);
  });

  test('but not the largest f32 values', () => {
    const bytes = f32Bytes(new Float32Array(9000).fill((2 - 2 ** -23) * 2 ** 127));
    expect(scan([{ dtype: 'F32', bytes }], (all) => [all]).finite).toBe(true);
  });
});

test('scanners do not disturb each other', () => {
  const tensors = [makeValues('F32', 10_007, 21), makeValues('BF16', 10_007, 22)];
  const both = tensors.map((tensor) => {
    const scanner = kernels.createScanner();
    scanner.begin(tensor.dtype, tensor.scale);
    return { scanner, pieces: cutAtRandom(tensor.bytes, 4, 3000) };
  });
  for (let index = 0; both.some(({ pieces }) => index < pieces.length); index += 1) {
    for (const { scanner, pieces } of both) scanner.push(pieces[index] ?? new Uint8Array());
  }
  for (const [index, { scanner }] of both.entries()) {
    scanner.end();
    expect(scanner.result()).toEqual(scanPlain([tensors[index]!]));
  }
});

test.each(['F32', 'BF16'] as const)('refuses a %s tensor that ends inside an element', (dtype) => {
  const scanner = kernels.createScanner();
  scanner.begin(dtype);
  scanner.push(new Uint8Array(dtypeBytes(dtype) + 1));
  expect(() => scanner.end()).toThrow(RangeError);
});

test('refuses calls out of order', () => {
  const scanner = kernels.createScanner();
  expect(() => scanner.push(new Uint8Array(4))).toThrow('no tensor');
  expect(() => scanner.begin('I8')).toThrow(RangeError);
  scanner.begin('F32');
  expect(() => scanner.begin('F32')).toThrow('has not ended');
});
