import { createRandom } from '../api/domain/random.ts';
import { type Random, shuffledIndices } from '../api/ml/training/shuffles.ts';

export interface DirichletPartition {
  /** The class of each example, 0 and up. */
  labels: ArrayLike<number>;
  devices: number;
  /** Small: each device sees few classes. Large: all see the same mixture. */
  alpha: number;
  seed: number;
  /** Examples of each device; all of the data when left out. */
  perDevice?: number | undefined;
  /** The least that a device gets (of what there is). */
  minimum?: number | undefined;
}

/**
 * Splits labelled data over devices, each class by proportions drawn from a symmetric Dirichlet distribution
 * (Hsu, Qi, Brown 2019, arXiv 1909.06335): the usual model of data that is not identically distributed. No
 * example is given to two devices.
 *
 * @returns for each device the indices of its examples, in random order.
 */
export function partitionDirichlet(options: DirichletPartition): Uint32Array[] {
  const { labels, devices, alpha, seed, perDevice, minimum = 10 } = options;
  if (!(devices >= 1) || !(alpha > 0))
    throw new Error('a partition needs at least one device and a positive alpha');
  const random = createRandom(seed);
  const classes = shuffledClasses(labels, random);
  const shards =
    perDevice === undefined
      ? splitClasses(classes, devices, alpha, random)
      : drawShards(classes, options, random);
  const least = Math.min(minimum, Math.floor(labels.length / devices));
  topUp(shards, least);
  return shards.map((shard) => shuffledIndices(shard.length, random).map((index) => shard[index]!));
}

function shuffledClasses(labels: ArrayLike<number>, random: Random): number[][] {
  const classes: number[][] = Array.from({ length: maxLabel(labels) + 1 }, () => []);
  for (const index of shuffledIndices(labels.length, random)) classes[labels[index]!]!.push(index);
  return classes;
}

function maxLabel(labels: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < labels.length; i++) most = Math.max(most, labels[i]!);
  return most;
}

/** All of the data: each class is cut at its own proportions. */
function splitClasses(classes: number[][], devices: number, alpha: number, random: Random): number[][] {
  const shards = Array.from({ length: devices }, (): number[] => []);
  for (const indices of classes) {
    const shares = dirichlet(devices, alpha, random);
    let given = 0;
    let share = 0;
    shards.forEach((shard, device) => {
      share += shares[device]!;
      const end = device === devices - 1 ? indices.length : Math.round(share * indices.length);
      shard.push(...indices.slice(given, end));
      given = Math.max(given, end);
    });
  }
  return shards;
}

/**
 * Equal shards: each device draws its examples by a class mixture of its own, from the classes that still
 * have any.
 */
function drawShards(
  classes: number[][],
  { devices, alpha, perDevice = 0 }: DirichletPartition,
  random: Random,
): number[][] {
  const mixtures = Array.from({ length: devices }, () => dirichlet(classes.length, alpha, random));
  const shards = mixtures.map((): number[] => []);
  for (let n = 0; n < perDevice; n++) {
    shards.forEach((shard, device) => {
      const left = mixtures[device]!.map((share, label) => (classes[label]!.length > 0 ? share + 1e-12 : 0));
      const drawn = classes[pick(left, random)]?.pop();
      if (drawn !== undefined) shard.push(drawn);
    });
  }
  return shards;
}

/** Gives devices below the minimum examples of the ones that have most. */
function topUp(shards: number[][], minimum: number): void {
  for (const shard of shards) {
    while (shard.length < minimum) {
      const richest = shards.reduce((most, other) => (other.length > most.length ? other : most));
      if (richest === shard) return;
      shard.push(richest.pop()!);
    }
  }
}

function pick(weights: readonly number[], random: Random): number {
  let at = random() * weights.reduce((sum, weight) => sum + weight, 0);
  let last = -1;
  for (const [index, weight] of weights.entries()) {
    if (weight <= 0) continue;
    last = index;
    at -= weight;
    if (at < 0) return index;
  }
  return last;
}

/** A point of the simplex: independent gamma variables divided by their sum. */
export function dirichlet(size: number, alpha: number, random: Random): number[] {
  const draws = Array.from({ length: size }, () => gamma(alpha, random));
  const sum = draws.reduce((total, draw) => total + draw, 0);
  // A tiny alpha can underflow every draw: then one part, drawn at random, is the whole.
  if (!(sum > 0)) {
    const whole = Math.floor(random() * size);
    return draws.map((_, i) => (i === whole ? 1 : 0));
  }
  return draws.map((draw) => draw / sum);
}

/**
 * A gamma variable of the given shape and scale 1 (Marsaglia and Tsang 2000, "A Simple Method for Generating
 * Gamma Variables"; shapes below 1 by their section 6).
 */
export function gamma(shape: number, random: Random): number {
  if (shape < 1) return gamma(shape + 1, random) * (1 - random()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normal(random);
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - random()) < 0.5 * x * x + d * (1 - v + Math.log(v))) return d * v;
  }
}

/** A standard normal variable (Box and Muller 1958). */
function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
