import type { KubernetesObject } from '../../../infra/manifest-text.ts';
import type { World } from './worlds.ts';

type Node = Record<string | number, unknown>;

/** What is at a path of members, such as `spec.template.spec.containers.0.image`; undefined if it leads nowhere. */
export function at(object: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, key) => (value as Node | undefined)?.[key], object);
}

/** Puts something at a path, or takes it away (undefined). For objects that are broken on purpose. */
export function put(object: unknown, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop()!;
  const parent = keys.reduce<unknown>((node, key) => {
    (node as Node)[key] ??= {};
    return (node as Node)[key];
  }, object) as Node;
  if (value === undefined) delete parent[last];
  else parent[last] = value;
}

export function ofKind(world: World, ...kinds: string[]): KubernetesObject[] {
  return world.objects.filter(({ kind }) => kinds.includes(kind));
}

/** The only object of that kind and name. */
export function pick(world: World, kind: string, name: string): KubernetesObject {
  const found = ofKind(world, kind).find(({ metadata }) => metadata.name === name);
  if (!found) throw new Error(`${world.name} has no ${kind}/${name}`);
  return found;
}

export function drop(world: World, kind: string, name: string): void {
  world.objects = world.objects.filter((each) => each !== pick(world, kind, name));
}
