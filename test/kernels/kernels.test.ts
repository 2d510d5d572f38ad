import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createKernels } from '../../api/kernels/kernels.ts';
import { encodedValues, makeValues } from './arbitraries.ts';
import { addPlain, applyPlain, decodePlain, f32Bytes, f64Bytes, misaligned } from './plain.ts';

const kernels = createKernels();
const runs = { numRuns: 60 };

function vectorOf(values: Float64Array) {
  const vector = kernels.zeros(values.length);
  kernels.load(vector, 0, f64Bytes(values));
  return vector;
}

describe('addScaled', () => {
  test('equals the plain version bit for bit, whatever dtype, length, offset and alignment', () => {
    const property = fc.property(
      encodedValues,
      fc.nat(9),
      fc.double({ min: 0, max: 1e5, noNaN: true }),
      (values, offset, weight) => {
        const length = decodePlain(values).length + offset + 3;
        const plain = Float64Array.from({ length }, (_, index) => Math.sin(index));
        const vector = vectorOf(plain);
        addPlain(plain, offset, values, weight);
        kernels.addScaled(vector, offset, values, weight);
        expect(Buffer.compare(kernels.save(vector, 0, length), f64Bytes(plain))).toBe(0);
        kernels.release(vector);
      },
    );
    fc.assert(property, runs);
  });

  const dtypes = ['F32', 'BF16', 'I8'] as const;
  const pieceEnds = [32_768, 65_536, 131_072, 262_144].flatMap((length) => [length - 1, length, length + 9]);
  test.each(dtypes)('equals it where %s values fill the staging area several times', (dtype) => {
    for (const length of pieceEnds) {
      const values = makeValues(dtype, length, length);
      const plain = new Float64Array(length);
      const vector = kernels.zeros(length);
      addPlain(plain, 0, values, 3.3);
      kernels.addScaled(vector, 0, values, 3.3);
      expect(Buffer.compare(kernels.save(vector, 0, length), f64Bytes(plain))).toBe(0);
      kernels.release(vector);
    }
  });

  test.each(dtypes)('takes %s values from the window, wherever they lie in it', (dtype) => {
    for (const at of [0, 1, 13, 64]) {
      const values = makeValues(dtype, 100_003, at + 1);
      const plain = new Float64Array(100_003);
      const vector = kernels.zeros(100_003);
      addPlain(plain, 0, values, 3.3);
      const elsewhere = kernels.zeros(40_000);
      const window = kernels.window();
      window.set(values.bytes, at);
      // Others are copied to where they do no harm to the window.
      kernels.addScaled(elsewhere, 0, makeValues(dtype, 40_000, 3), 2);
      kernels.release(elsewhere);
      const bytes = window.subarray(at, at + values.bytes.length);
      kernels.addScaled(vector, 0, { ...values, bytes }, 3.3);
      expect(Buffer.compare(kernels.save(vector, 0, 100_003), f64Bytes(plain))).toBe(0);
      kernels.release(vector);
    }
  });

  test.each([
    ['a part that leaves the vector', 8, 3, { dtype: 'F32', bytes: new Uint8Array(24) }],
    ['a negative offset', 8, -1, { dtype: 'F32', bytes: new Uint8Array(4) }],
    ['half an element', 8, 0, { dtype: 'BF16', bytes: new Uint8Array(3) }],
    ['I8 without a scale', 8, 0, { dtype: 'I8', bytes: new Uint8Array(3) }],
  ] as const)('refuses %s and changes nothing', (_name, length, offset, values) => {
    const vector = kernels.zeros(length);
    expect(() => kernels.addScaled(vector, offset, values, 1)).toThrow(RangeError);
    expect(kernels.save(vector, 0, length).every((byte) => byte === 0)).toBe(true);
    kernels.release(vector);
  });
});

describe('applyScaled', () => {
  test('equals the plain version bit for bit', () => {
    const property = fc.property(
      fc.integer({ min: 0, max: 70_000 }),
      fc.nat(7),
      fc.double({ min: -1, max: 1, noNaN: true }),
      (length, by, factor) => {
        const source = Float64Array.from({ length }, (_, index) => Math.cos(index) * 1e3);
        const base = Float32Array.from({ length }, (_, index) => Math.sin(index));
        const vector = vectorOf(source);
        const result = kernels.applyScaled(vector, 0, misaligned(f32Bytes(base), by), factor);
        expect(result.finite).toBe(true);
        expect(Buffer.compare(result.bytes, f32Bytes(applyPlain(source, base, factor)))).toBe(0);
        kernels.release(vector);
      },
    );
    fc.assert(property, runs);
  });

  test.each([
    ['NaN in the sum', Number.NaN, 0],
    ['infinity in the sum', Number.NEGATIVE_INFINITY, 0],
    ['a sum beyond f32', 1e39, 0],
    ['NaN in the base', 0, Number.NaN],
    ['infinity in the base', 0, Number.POSITIVE_INFINITY],
  ])('finds %s at every place', (_name, inSource, inBase) => {
    for (const length of [1, 3, 4, 5, 8, 11, 32_769]) {
      for (const place of new Set([0, length >> 1, length - 1])) {
        const vector = vectorOf(new Float64Array(length).fill(inSource, place, place + 1));
        const base = new Float32Array(length).fill(inBase, place, place + 1);
        expect(kernels.applyScaled(vector, 0, f32Bytes(base), 1).finite).toBe(false);
        kernels.release(vector);
      }
    }
  });

  test('takes the largest f32 as finite', () => {
    const largest = (2 - 2 ** -23) * 2 ** 127;
    const vector = vectorOf(new Float64Array(5).fill(-largest));
    expect(kernels.applyScaled(vector, 0, new Uint8Array(20), 1).finite).toBe(true);
    kernels.release(vector);
  });
});

test('scale equals the plain version bit for bit', () => {
  for (const length of [0, 1, 7, 8, 9, 1003]) {
    const source = Float64Array.from({ length }, (_, index) => Math.sin(index));
    const vector = vectorOf(source);
    kernels.scale(vector, 1 / 3);
    expect(
      Buffer.compare(kernels.save(vector, 0, length), f64Bytes(source.map((value) => value * (1 / 3)))),
    ).toBe(0);
    kernels.release(vector);
  }
});

test('decode equals the plain version bit for bit', () => {
  const property = fc.property(encodedValues, (values) => {
    const plain = f32Bytes(Float32Array.from(decodePlain(values)));
    expect(Buffer.compare(kernels.decode(values), plain)).toBe(0);
  });
  fc.assert(property, runs);
});

test('decode copies: what the caller does with a Buffer afterwards changes nothing', () => {
  const bytes = Buffer.from(f32Bytes(Float32Array.of(1, 2)));
  const decoded = kernels.decode({ dtype: 'F32', bytes });
  bytes.fill(0);
  expect(new Float32Array(decoded.buffer)).toEqual(Float32Array.of(1, 2));
});

describe('vectors', () => {
  test('are zero although they lie where another was, and do not overlap', () => {
    const own = createKernels();
    const filled = makeValues('F32', 1000, 5);
    const lengths = [1000, 17, 333, 1000, 64, 250];
    let vectors = lengths.map((length) => own.zeros(length));
    for (let round = 0; round < 4; round += 1) {
      for (const [index, vector] of vectors.entries()) {
        expect(own.save(vector, 0, vector.length).every((byte) => byte === 0)).toBe(true);
        own.addScaled(
          vector,
          0,
          { ...filled, bytes: filled.bytes.subarray(0, vector.length * 4) },
          index + 1,
        );
      }
      for (const [index, vector] of vectors.entries()) {
        const plain = new Float64Array(vector.length);
        addPlain(plain, 0, { ...filled, bytes: filled.bytes.subarray(0, vector.length * 4) }, index + 1);
        expect(Buffer.compare(own.save(vector, 0, vector.length), f64Bytes(plain))).toBe(0);
      }
      for (const vector of vectors) own.release(vector);
      vectors = [...lengths.slice(round), ...lengths.slice(0, round)].map((length) => own.zeros(length));
    }
  });

  test('take the place of released ones: more of them than 4 GiB hold, one after the other', () => {
    const own = createKernels();
    const bytes = new Uint8Array(8).fill(1);
    for (let round = 0; round < 600; round += 1) {
      const pair = [own.zeros(1_000_003), own.zeros(7)] as const;
      own.load(pair[0], 1_000_002, bytes);
      for (const vector of round % 2 ? pair : [...pair].reverse()) own.release(vector);
    }
    const last = own.zeros(1_000_003);
    expect(own.save(last, 1_000_002, 1)).toEqual(new Uint8Array(8));
  });

  test('throw RangeError when memory does not suffice, and the kernels go on', () => {
    const own = createKernels();
    expect(() => own.zeros(2 ** 29)).toThrow(RangeError);
    expect(() => own.zeros(-1)).toThrow(RangeError);
    expect(() => own.zeros(1.5)).toThrow(RangeError);
    expect(own.zeros(10).length).toBe(10);
  });

  test('reach beyond 2 GiB', () => {
    const own = createKernels();
    const length = 300_000_000;
    const vector = own.zeros(length);
    const values = makeValues('F32', 11, 3);
    own.addScaled(vector, length - 11, values, 2);
    const plain = new Float64Array(11);
    addPlain(plain, 0, values, 2);
    expect(Buffer.compare(own.save(vector, length - 11, 11), f64Bytes(plain))).toBe(0);
    const applied = own.applyScaled(vector, length - 11, new Uint8Array(44), 1);
    expect(Buffer.compare(applied.bytes, f32Bytes(Float32Array.from(plain)))).toBe(0);
  });

  test('are refused once released, and by other kernels', () => {
    const vector = kernels.zeros(4);
    expect(() => createKernels().save(vector, 0, 1)).toThrow(RangeError);
    kernels.release(vector);
    expect(() => kernels.save(vector, 0, 1)).toThrow(RangeError);
    expect(() => kernels.release(vector)).toThrow(RangeError);
  });

  test('load what save gave, in parts', () => {
    const source = Float64Array.from({ length: 100 }, (_, index) => Math.sin(index));
    const vector = vectorOf(source);
    const copy = kernels.zeros(100);
    kernels.load(copy, 0, kernels.save(vector, 0, 41));
    kernels.load(copy, 41, misaligned(kernels.save(vector, 41, 59), 3));
    expect(kernels.save(copy, 0, 100)).toEqual(kernels.save(vector, 0, 100));
    expect(() => kernels.load(copy, 99, new Uint8Array(16))).toThrow(RangeError);
    expect(() => kernels.load(copy, 0, new Uint8Array(7))).toThrow(RangeError);
  });
});
