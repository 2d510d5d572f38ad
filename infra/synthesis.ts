import { gitOps } from './argocd/git-ops.ts';
import { writeArgoCd } from './argocd/manifests.ts';
import { type Environment, listEnvironments, loadEnvironment } from './environment.ts';
import { App, Chart } from './kubernetes.ts';
import { parts } from './layers.ts';
import { type KubernetesObject, type Manifests, writeKustomization, writeObjects } from './manifest-text.ts';
import { layerNames } from './part.ts';

/**
 * Every file of every environment, and what Argo CD needs to find them; of one environment alone, if it is named. The
 * same input gives the same bytes.
 */
export async function synthesize(only?: string): Promise<Manifests> {
  const names = only === undefined ? await listEnvironments() : [only];
  const environments = await Promise.all(names.map(loadEnvironment));
  const files = new Map(environments.flatMap((environment) => [...writeEnvironment(environment)]));
  if (only !== undefined) return files;
  return new Map([...files, ...(await writeArgoCd(environments, files, gitOps))]);
}

/** An environment's files: one for each part, `kustomization.yaml` for each layer and for the whole. */
function writeEnvironment(environment: Environment): Manifests {
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

const clusterScoped = new Set(['Namespace', 'PersistentVolume', 'NodeGroup']);

/** A chart gives its namespace to all of its objects, those that have none included. */
function scope(object: KubernetesObject): KubernetesObject {
  if (!clusterScoped.has(object.kind)) return object;
  const { namespace: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
