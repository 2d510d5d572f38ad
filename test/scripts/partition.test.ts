import { describe, expect, test } from 'vitest';
import { createRandom } from '../../api/domain/random.ts';
import { dirichlet, gamma, partitionDirichlet } from '../../scripts/partition.ts';

const labels = Uint8Array.from({ length: 6_000 }, (_, i) => (i * 7) % 10);

function shares(shard: Uint32Array): number[] {
  const counts = new Array<number>(10).fill(0);
  for (const index of shard) counts[labels[index]!]! += 1;
  return counts.map((count) => count / shard.length);
}

describe('partitionDirichlet', () => {
  test('gives every example to one device', () => {
    const shards = partitionDirichlet({ labels, devices: 10, alpha: 0.5, seed: 1 });
    const all = shards.flatMap((shard) => [...shard]).sort((a, b) => a - b);
    expect(all).toEqual(Array.from(labels, (_, i) => i));
  });

  test('is the same for the same seed, another for another', () => {
    const make = (seed: number) => partitionDirichlet({ labels, devices: 5, alpha: 0.5, seed });
    expect(make(3)).toEqual(make(3));
    expect(make(3)).not.toEqual(make(4));
  });

  test('gives equal shards of perDevice examples, none twice', () => {
    const shards = partitionDirichlet({ labels, devices: 6, alpha: 0.3, seed: 2, perDevice: 900 });
    expect(shards.map((shard) => shard.length)).toEqual([900, 900, 900, 900, 900, 900]);
    expect(new Set(shards.flatMap((shard) => [...shard])).size).toBe(5_400);
  });

  test('a device gets at least the minimum, however small alpha is', () => {
    const shards = partitionDirichlet({ labels, devices: 40, alpha: 0.01, seed: 5, minimum: 50 });
    expect(Math.min(...shards.map((shard) => shard.length))).toBeGreaterThanOrEqual(50);
    expect(new Set(shards.flatMap((shard) => [...shard])).size).toBe(6_000);
  });

  test('a small alpha makes mixtures unlike, a large one alike', () => {
    const largestShare = (alpha: number) => {
      const shards = partitionDirichlet({ labels, devices: 10, alpha, seed: 11, perDevice: 400 });
      return shards.reduce((sum, shard) => sum + Math.max(...shares(shard)), 0) / 10;
    };
    expect(largestShare(0.1)).toBeGreaterThan(0.5);
    expect(largestShare(1_000)).toBeLessThan(0.2);
  });

  test('shards are shuffled', () => {
    const [shard] = partitionDirichlet({ labels, devices: 1, alpha: 1, seed: 1 });
    const first = [...shard!.subarray(0, 200)].map((index) => labels[index]);
    expect(new Set(first).size).toBe(10);
  });

  test('refuses a partition that is none', () => {
    expect(() => partitionDirichlet({ labels, devices: 0, alpha: 1, seed: 1 })).toThrow('device');
    expect(() => partitionDirichlet({ labels, devices: 2, alpha: 0, seed: 1 })).toThrow('alpha');
  });
});

describe('gamma', () => {
  // Mean and variance of a gamma variable of scale 1 are its shape; so many draws put both within 5 %.
  test.each([0.3, 0.5, 1, 2.5, 9])('shape %f has its mean and variance', (shape) => {
    const random = createRandom(42);
    const draws = Array.from({ length: 60_000 }, () => gamma(shape, random));
    const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
    const variance = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length;
    expect(Math.abs(mean / shape - 1)).toBeLessThan(0.05);
    expect(Math.abs(variance / shape - 1)).toBeLessThan(0.05);
    expect(Math.min(...draws.slice(0, 1_000))).toBeGreaterThanOrEqual(0);
  });
});

test('dirichlet: a point of the simplex, also where every draw underflows', () => {
  const random = createRandom(9);
  for (const alpha of [1e-6, 0.1, 1, 50]) {
    const point = dirichlet(7, alpha, random);
    expect(point).toHaveLength(7);
    expect(point.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
    expect(Math.min(...point)).toBeGreaterThanOrEqual(0);
  }
});
