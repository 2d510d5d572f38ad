import { at, pick, put } from './objects.ts';
import { containersOf, type Pod, podsOf } from './pods.ts';
import type { World } from './worlds.ts';

/** Something that holds in every world. */
export interface Policy {
  name: string;
  /** Who breaks it, and how. */
  violations(world: World): string[];
  /** The world that it breaks. Default: production. */
  of?: string;
  /** Breaks it, so that it is known to be able to fail. */
  breakIt(world: World): void;
}

type Container = ReturnType<typeof containersOf>[number];

/** A policy of every pod. `what` answers what is wrong with it, if anything is. */
export function podPolicy(
  name: string,
  what: (pod: Pod, world: World) => string | false | undefined,
  breakPod: (spec: Pod['spec']) => void,
): Policy {
  return {
    name,
    violations: (world) =>
      podsOf(world.objects).flatMap((pod) => {
        const fault = what(pod, world);
        return fault ? [`${pod.name}: ${fault}`] : [];
      }),
    breakIt: (world) => breakPod(apiSpec(world)),
  };
}

/** A policy of every container. */
export function containerPolicy(
  name: string,
  what: (container: Container, pod: Pod, world: World) => string | false | undefined,
  breakContainer: (container: Container) => void,
): Policy {
  return podPolicy(
    name,
    (pod, world) =>
      containersOf(pod)
        .map((container) => what(container, pod, world))
        .filter(Boolean)
        .join(', '),
    (spec) => breakContainer(spec.containers[0]!),
  );
}

/** The API's pod, to be broken. */
function apiSpec(world: World): Pod['spec'] {
  return at(pick(world, 'Deployment', 'fededge-api'), 'spec.template.spec') as Pod['spec'];
}

/** A break of one member of one object. */
export function changing(kind: string, name: string, path: string, value: unknown) {
  return (world: World): void => put(pick(world, kind, name), path, value);
}
