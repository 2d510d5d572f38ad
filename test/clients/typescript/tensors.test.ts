import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTensorHeader } from '../../../api/domain/tensors.ts';
import { planUpdate } from '../../../api/domain/update.ts';
import type { Manifest, NamedTensors, Training } from '../../../clients/typescript/index.ts';
import { encodeUpdate } from '../../../clients/typescript/tensors/updates.ts';
import { decodeWeights, encodeWeights } from '../../../clients/typescript/tensors/weights.ts';

const float = fc.float({ noNaN: true, noDefaultInfinity: true, min: -1000, max: 1000 });
const pairs = fc.array(fc.tuple(float, float), { minLength: 1, maxLength: 40 });

function tensors(values: readonly number[]): NamedTensors {
  return new Map([['w', { shape: [values.length], values: Float32Array.from(values) }]]);
}

function manifestOf(length: number): Manifest {
  return { tensors: [{ name: 'w', shape: [length], dtype: 'F32', role: 'trainable' }] };
}

function training(weights: NamedTensors, more: Partial<Training> = {}): Training {
  return { weights, numExamples: 3, metrics: { loss: 0.25 }, ...more };
}

function dataOf(file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const parsed = parseTensorHeader(file);
  if (!parsed.ok) throw new Error(parsed.reason);
  return file.slice(parsed.header.headerBytes);
}

test('weights survive encoding and decoding, in one piece or at an odd place of a larger buffer', () => {
  fc.assert(
    fc.property(fc.array(float, { minLength: 1, maxLength: 40 }), fc.nat(3), (values, shift) => {
      const file = encodeWeights(tensors(values));
      const moved = new Uint8Array(file.length + shift);
      moved.set(file, shift);
      for (const bytes of [file, moved.subarray(shift)]) {
        expect([...decodeWeights(bytes).get('w')!.values]).toEqual([...Float32Array.from(values)]);
      }
    }),
  );
});

test.each([
  ['are cut', (file: Uint8Array<ArrayBuffer>) => file.slice(0, -1)],
  ['have bytes behind them', (file: Uint8Array<ArrayBuffer>) => new Uint8Array([...file, 0])],
  ['have another dtype', (file: Uint8Array<ArrayBuffer>) => replace(file, '"F32"', '"I32"')],
])('weights that %s are refused', (_name, spoil) => {
  expect(() => decodeWeights(spoil(encodeWeights(tensors([1, 2]))))).toThrow(/weights|dtype/);
});

describe('an update', () => {
  test('holds the f32 difference, and the server takes it', () => {
    fc.assert(
      fc.property(pairs, (values) => {
        const before = tensors(values.map(([value]) => value));
        const after = tensors(values.map(([, value]) => value));
        const manifest = manifestOf(values.length);
        const file = encodeUpdate(manifest, before, training(after), 'f32');
        const expected = values.map(([from, to]) => Math.fround(to - from));
        expect([...new Float32Array(dataOf(file).buffer)]).toEqual(expected);
        expect(plan(file, manifest)).toMatchObject({
          ok: true,
          plan: { numExamples: 3, metrics: { loss: 0.25 } },
        });
      }),
    );
  });

  test('holds the nearest bf16, the even one of two', () => {
    const encode = (values: number[]): number[] => {
      const zeros = tensors(values.map(() => 0));
      const file = encodeUpdate(manifestOf(values.length), zeros, training(tensors(values)), 'bf16');
      return [...new Uint16Array(dataOf(file).buffer)];
    };
    const some = fc.array(float, { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(some, (values) => {
        expect(encode(values)).toEqual(values.map(nearestBf16));
      }),
    );
    const ties = [1 + 2 ** -8, 1 + 3 * 2 ** -8, -(1 + 2 ** -8)];
    expect(encode(ties)).toEqual([0x3f80, 0x3f82, 0xbf80]);
    expect(ties.map(nearestBf16)).toEqual([0x3f80, 0x3f82, 0xbf80]);
  });

  test('carries what the strategy asks for, and no metric that is not finite', () => {
    const result = training(tensors([1]), {
      metrics: { loss: Number.NaN, accuracy: 1 },
      scalars: { num_steps: 12 },
    });
    const manifest = manifestOf(1);
    const file = encodeUpdate(manifest, tensors([0]), result, 'f32');
    expect(plan(file, manifest, ['num_steps'])).toMatchObject({
      ok: true,
      plan: { scalars: { num_steps: 12 }, metrics: { accuracy: 1 } },
    });
  });

  test('leaves local tensors at home', () => {
    const local = { name: 'head', shape: [2], dtype: 'F32' as const, role: 'local' as const };
    const manifest = { tensors: [...manifestOf(1).tensors, local] };
    const file = encodeUpdate(manifest, tensors([0]), training(tensors([1])), 'f32');
    const parsed = parseTensorHeader(file);
    expect(parsed.ok && parsed.header.entries.map(({ name }) => name)).toEqual(['w']);
  });

  test.each(['f32', 'bf16'] as const)('is not made of %s values that are not finite', (encoding) => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      const after = training(tensors([1, value]));
      expect(() => encodeUpdate(manifestOf(2), tensors([0, 0]), after, encoding)).toThrow('not finite');
    }
  });

  test('is not made when bf16 has no finite value near', () => {
    const after = training(tensors([3.4e38]));
    expect(() => encodeUpdate(manifestOf(1), tensors([0]), after, 'bf16')).toThrow('not finite');
    expect(encodeUpdate(manifestOf(1), tensors([0]), after, 'f32').length).toBeGreaterThan(0);
  });
});

function plan(file: Uint8Array, manifest: Manifest, scalars: string[] = []) {
  const parsed = parseTensorHeader(file);
  if (!parsed.ok) throw new Error(parsed.reason);
  return planUpdate(parsed.header, manifest as Parameters<typeof planUpdate>[1], scalars);
}

/** By comparing with both neighbours, which the client's rounding by bits does not. */
function nearestBf16(value: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setFloat32(0, value);
  const below = view.getUint16(0);
  const toValue = (half: number): number => {
    view.setUint32(0, half << 16);
    return view.getFloat32(0);
  };
  const exact = Math.fround(value);
  const distances = [Math.abs(exact - toValue(below)), Math.abs(exact - toValue(below + 1))] as const;
  if (distances[0] === distances[1]) return below + (below & 1);
  return distances[0] < distances[1] ? below : below + 1;
}

function replace(file: Uint8Array<ArrayBuffer>, from: string, to: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(Buffer.from(file).toString('latin1').replace(from, to), 'latin1'));
}
