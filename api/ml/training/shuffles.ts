/** A source of numbers in [0, 1), as `createRandom` makes. */
export type Random = () => number;

/** The numbers 0 to `count` - 1 in a random order (Fisher and Yates; inside out). */
export function shuffledIndices(count: number, random: Random): Uint32Array {
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i++) {
    const j = Math.floor(random() * (i + 1));
    order[i] = order[j]!;
    order[j] = i;
  }
  return order;
}

/** Mixes a text into a seed, so that every tensor of a model gets numbers of its own (FNV-1a). */
export function seedFor(seed: number, text: string): number {
  let hash = (seed >>> 0) ^ 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
