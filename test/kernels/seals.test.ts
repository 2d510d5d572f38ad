import { createCipheriv } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkSeal, createSeal } from '../../api/kernels/seals.ts';
import { cutAtRandom } from './arbitraries.ts';

function sealOf(pieces: Iterable<Uint8Array>): string {
  const sealer = createSeal();
  for (const piece of pieces) sealer.push(piece);
  return sealer.close();
}

function holds(seal: string, pieces: Iterable<Uint8Array>): boolean {
  const check = checkSeal(seal);
  for (const piece of pieces) check.push(piece);
  return check.holds();
}

/** NIST SP 800-38D, 6.3: the product in GF(2^128), bit by bit; the first bit of a block is its coefficient of x^0. */
function multiply(x: bigint, y: bigint): bigint {
  let product = 0n;
  let v = y;
  for (let bit = 127n; bit >= 0n; bit -= 1n) {
    if ((x >> bit) & 1n) product ^= v;
    v = v & 1n ? (v >> 1n) ^ (0xe1n << 120n) : v >> 1n;
  }
  return product;
}

function encrypt(key: Uint8Array, block: bigint): bigint {
  const cipher = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  const bytes = Buffer.from(block.toString(16).padStart(32, '0'), 'hex');
  return BigInt(`0x${cipher.update(bytes).toString('hex')}`);
}

/** GMAC of a file by its definition (SP 800-38D, 6.4 and 7.1), with a nonce of zeros. */
function slowTag(key: Uint8Array, file: Uint8Array): string {
  const h = encrypt(key, 0n);
  let sum = 0n;
  for (let at = 0; at < file.length; at += 16) {
    const block = Buffer.alloc(16);
    block.set(file.subarray(at, at + 16));
    sum = multiply(sum ^ BigInt(`0x${block.toString('hex')}`), h);
  }
  sum = multiply(sum ^ (BigInt(file.length * 8) << 64n), h) ^ encrypt(key, 1n);
  return sum.toString(16).padStart(32, '0');
}

const splitSeal = (seal: string) => {
  const bytes = Buffer.from(seal, 'base64url');
  return { key: bytes.subarray(0, 32), tag: bytes.subarray(32).toString('hex') };
};

describe('a seal', () => {
  test('is a fresh key and the GMAC under it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (file) => {
        const { key, tag } = splitSeal(sealOf([file]));
        expect(tag).toBe(slowTag(key, file));
      }),
    );
    const seals = Array.from({ length: 50 }, () => sealOf([Uint8Array.of(1)]));
    expect(new Set(seals.map((seal) => splitSeal(seal).key.toString('hex')))).toHaveProperty('size', 50);
  });

  test('of no bytes under a key of zeros has the tag of GCM test case 13', () => {
    const tag = '530f8afbc74536b9a963b4f1c4cb738b';
    expect(slowTag(new Uint8Array(32), new Uint8Array())).toBe(tag);
    const seal = Buffer.concat([new Uint8Array(32), Buffer.from(tag, 'hex')]).toString('base64url');
    expect(holds(seal, [])).toBe(true);
    expect(holds(seal, [Uint8Array.of(0)])).toBe(false);
  });

  test('does not depend on how the file was cut', () => {
    const file = Uint8Array.from({ length: 300_001 }, (_, index) => (index * 7919) >>> 5);
    for (const [seed, longest] of [5, 100, 70_000, 200_000].entries()) {
      expect(holds(sealOf(cutAtRandom(file, seed + 1, longest)), cutAtRandom(file, seed + 9, longest))).toBe(
        true,
      );
      expect(holds(sealOf([file]), cutAtRandom(file, seed + 5, longest))).toBe(true);
    }
  });
});

describe('does not hold for', () => {
  const file = Uint8Array.from({ length: 70_003 }, (_, index) => (index * 2654435761) >>> 7);
  const seal = sealOf([file]);

  test('a file with any bit flipped', () => {
    expect(holds(seal, [file])).toBe(true);
    fc.assert(
      fc.property(fc.nat(file.length - 1), fc.nat(7), (at, bit) => {
        const flipped = new Uint8Array(file);
        flipped[at]! ^= 1 << bit;
        expect(holds(seal, [flipped])).toBe(false);
      }),
    );
  });

  test('one that is shorter or longer, also by zeros', () => {
    fc.assert(
      fc.property(fc.nat(file.length - 1), (length) => {
        expect(holds(seal, [file.subarray(0, length)])).toBe(false);
      }),
    );
    const zeros = sealOf([new Uint8Array(64)]);
    for (const length of [0, 48, 63, 65, 80]) expect(holds(zeros, [new Uint8Array(length)])).toBe(false);
    expect(holds(seal, [file, file.subarray(0, 1)])).toBe(false);
  });

  test('one with two blocks swapped', () => {
    for (const size of [1, 4, 16, 4096]) {
      const swapped = new Uint8Array(file);
      swapped.copyWithin(0, size, 2 * size);
      swapped.set(file.subarray(0, size), size);
      expect(holds(seal, [swapped])).toBe(false);
    }
  });

  test("the same file under another file's seal, or a text that is no seal", () => {
    const other = sealOf([file.subarray(1)]);
    const { key } = splitSeal(seal);
    const mixed = Buffer.concat([key, Buffer.from(splitSeal(other).tag, 'hex')]).toString('base64url');
    for (const wrong of [other, mixed, '', seal.slice(0, -2), `${seal}AA`]) {
      expect(holds(wrong, [file])).toBe(false);
    }
  });
});
