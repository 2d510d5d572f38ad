import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createRegions } from '../../api/kernels/regions.ts';

const RESERVED = 1000;
const PAGES = 4;
const CAPACITY = PAGES * 65_536 - 1024;

test('regions are zero, apart from each other, within the memory, and all of it is free again at the end', () => {
  const step = fc.record({ bytes: fc.nat(40_000), free: fc.nat(20), keep: fc.boolean() });
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: PAGES });
    const regions = createRegions(memory, RESERVED);
    const held: { address: number; bytes: number }[] = [];
    for (const { bytes, free, keep } of steps) {
      const [victim] = keep ? [] : held.splice(free % (held.length + 1), 1);
      if (victim) regions.free(victim.address);
      const address = allocate(regions, bytes);
      if (address === undefined) continue;
      expect(address).toBeGreaterThanOrEqual(RESERVED);
      const region = new Uint8Array(memory.buffer, address, bytes);
      expect(region.every((byte) => byte === 0)).toBe(true);
      // Whatever overlaps a held region would find this.
      region.fill(0xff);
      held.push({ address, bytes });
    }
    for (const { address } of held) regions.free(address);
    expect(allocate(regions, CAPACITY)).toBeDefined();
  });
  fc.assert(property, { numRuns: 100 });
});

test('neighbours that are freed in any order join, below a region that stays', () => {
  for (const order of [
    [0, 1, 2],
    [0, 2, 1],
    [2, 1, 0],
  ]) {
    const regions = createRegions(new WebAssembly.Memory({ initial: 1, maximum: PAGES }), RESERVED);
    const addresses = [50_000, 50_000, 50_000].map((bytes) => regions.allocate(bytes));
    regions.allocate(64);
    for (const index of order) regions.free(addresses[index]!);
    expect(regions.allocate(150_000)).toBe(addresses[0]);
  }
});

test('what is not held cannot be freed, and what does not fit throws and takes nothing', () => {
  const regions = createRegions(new WebAssembly.Memory({ initial: 1, maximum: PAGES }), RESERVED);
  const address = regions.allocate(10);
  regions.free(address);
  expect(() => regions.free(address)).toThrow(RangeError);
  expect(() => regions.allocate(PAGES * 65_536)).toThrow(RangeError);
  expect(regions.allocate(CAPACITY)).toBe(address);
});

function allocate(regions: ReturnType<typeof createRegions>, bytes: number): number | undefined {
  try {
    return regions.allocate(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(RangeError);
    return undefined;
  }
}
