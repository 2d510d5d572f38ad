import { Yaml } from './kubernetes.ts';

/** Files by their path under infra/manifests. */
export type Manifests = Map<string, string>;

/** An object as Kubernetes reads it. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  [member: string]: unknown;
}

export function writeObjects(objects: readonly object[]): string {
  return Yaml.stringify(...objects);
}

export function writeKustomization(resources: readonly string[]): string {
  return Yaml.stringify({ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources });
}
