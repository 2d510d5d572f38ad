import type { Manifests } from './manifest-text.ts';

/** A digest that nothing has: git cannot hold that of an image which is built from it. */
const PLACEHOLDER = `@sha256:${'0'.repeat(64)}`;

/** The environments whose pods name no image that exists, sorted. */
export function findPlaceholders(manifests: Manifests): string[] {
  const found = [...manifests].filter(([, text]) => text.includes(PLACEHOLDER));
  return [...new Set(found.map(([path]) => path.split('/')[0]!))].sort();
}
