import type { IPodSpec } from 'kubernetes-models/v1';
import type { KubernetesObject } from '../../../infra/manifest-text.ts';

export type Labels = Record<string, string>;

/** A pod that some object asks for, however deep in it. */
export interface Pod {
  owner: KubernetesObject;
  /** `Kind/name`. */
  name: string;
  labels: Labels;
  spec: IPodSpec;
}

export const nameOf = ({ kind, metadata }: KubernetesObject): string => `${kind}/${metadata.name}`;

/** Everything that has containers is a pod's specification: in Deployments, Jobs, Knative's Services, ... */
export function podsOf(objects: readonly KubernetesObject[]): Pod[] {
  return objects.flatMap((owner) => search(owner, owner, {}));
}

function search(owner: KubernetesObject, value: unknown, labels: Labels): Pod[] {
  if (Array.isArray(value)) return value.flatMap((each) => search(owner, each, labels));
  if (typeof value !== 'object' || value === null) return [];
  const { metadata, ...members } = value as { metadata?: { labels?: Labels } };
  if ('containers' in members && Array.isArray(members.containers)) {
    return [{ owner, name: nameOf(owner), labels, spec: members as unknown as IPodSpec }];
  }
  const own = metadata?.labels ?? labels;
  return Object.values(members).flatMap((each) => search(owner, each, own));
}

export function containersOf({ spec }: Pod) {
  return [...spec.containers, ...(spec.initContainers ?? [])];
}

/** Whether the labels are among those of the pod. */
export function selects(matchLabels: Labels, labels: Labels): boolean {
  return Object.entries(matchLabels).every(([name, value]) => labels[name] === value);
}

export const componentOf = ({ labels }: Pod): string | undefined => labels['app.kubernetes.io/component'];

/** What runs until it is told to stop. */
export const isServing = (pod: Pod): boolean => ['api', 'worker'].includes(componentOf(pod) ?? '');
