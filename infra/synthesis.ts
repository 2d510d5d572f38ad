import { type Environment, listEnvironments, loadEnvironment } from './environment.ts';
import { App, Chart, Yaml } from './kubernetes.ts';
import { layerNames, parts } from './layers.ts';

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

/** Every file of every environment; of one, if it is named. The same input gives the same bytes. */
export async function synthesize(only?: string): Promise<Manifests> {
  const names = only === undefined ? await listEnvironments() : [only];
  const environments = await Promise.all(names.map(loadEnvironment));
  return new Map(environments.flatMap((environment) => [...writeEnvironment(environment)]));
}

/** An environment's files: one for each part, `kustomization.yaml` for each layer and for the whole. */
export function writeEnvironment(environment: Environment): Manifests {
  const files: Manifests = new Map();
  const rendered = renderEnvironment(environment);
  const layers = layerNames.filter((layer) => rendered.some((part) => part.layer === layer));
  files.set(`${environment.name}/kustomization.yaml`, writeKustomization(layers));
  for (const layer of layers) {
    const own = rendered.filter((part) => part.layer === layer);
    const resources = own.map(({ name }) => `${name}.yaml`);
    files.set(`${environment.name}/${layer}/kustomization.yaml`, writeKustomization(resources));
    for (const { name, objects } of own) {
      files.set(`${environment.name}/${layer}/${name}.yaml`, writeObjects(objects));
    }
  }
  return files;
}

/** The objects of every part that has some. */
export function renderEnvironment(
  environment: Environment,
): { layer: string; name: string; objects: KubernetesObject[] }[] {
  const app = new App();
  return parts
    .map(({ layer, name, add }) => {
      const { namespace } = environment.settings;
      const chart = new Chart(app, `${layer}-${name}`, { namespace, disableResourceNameHashes: true });
      add(chart, environment);
      return { layer, name, objects: (chart.toJson() as KubernetesObject[]).map(scope) };
    })
    .filter(({ objects }) => objects.length > 0);
}

const clusterScoped = new Set(['Namespace', 'PersistentVolume', 'ClusterRole', 'ClusterRoleBinding']);

/** A chart gives its namespace to all of its objects, those that have none included. */
function scope(object: KubernetesObject): KubernetesObject {
  if (!clusterScoped.has(object.kind)) return object;
  const { namespace: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

export function writeObjects(objects: readonly KubernetesObject[]): string {
  return Yaml.stringify(...objects);
}

export function writeKustomization(resources: readonly string[]): string {
  return Yaml.stringify({ apiVersion: 'kustomize.config.k8s.io/v1beta1', kind: 'Kustomization', resources });
}
