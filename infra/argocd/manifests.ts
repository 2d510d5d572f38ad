import type { Environment } from '../environment.ts';
import { type Manifests, writeKustomization, writeObjects } from '../manifest-text.ts';
import { type LayerName, layerNames } from '../part.ts';
import { edgeSitesSet, environmentsSet } from './application-sets.ts';
import { layerApplications } from './applications.ts';
import type { GitOps } from './git-ops.ts';
import { healthConfiguration, readHealthChecks } from './health.ts';
import { imageUpdater } from './image-updater.ts';
import { environmentProject, parentProject } from './projects.ts';

/**
 * What Argo CD itself is given, as files under infra/manifests: `argocd` is applied once by hand, and again when it
 * changes; from `argocd/environments` on Argo CD reads for itself. `rendered` are the environments' files: an environment
 * has an Application for each layer that has a folder.
 */
export async function writeArgoCd(
  environments: readonly Environment[],
  rendered: Manifests,
  gitOps: GitOps,
): Promise<Manifests> {
  const files: Manifests = new Map();
  const edge = environments.find(({ name }) => name === gitOps.edge.environment);
  addFolder(files, 'argocd', {
    configuration: [healthConfiguration(await readHealthChecks(), gitOps.namespace)],
    projects: [parentProject(gitOps), ...environments.map((one) => environmentProject(one, gitOps))],
    applications: [environmentsSet(gitOps), ...(edge ? [edgeSitesSet(edge, gitOps)] : [])],
  });
  addFolder(files, 'argocd/image-updater', { 'image-updater': imageUpdater(gitOps) });
  for (const environment of environments.filter((one) => one !== edge)) {
    const layers = layerNames.filter((layer: LayerName) =>
      rendered.has(`${environment.name}/${layer}/kustomization.yaml`),
    );
    addFolder(files, `argocd/environments/${environment.name}`, {
      applications: layerApplications(environment, layers, gitOps),
    });
  }
  return files;
}

function addFolder(files: Manifests, folder: string, parts: Record<string, readonly object[]>): void {
  const own = Object.entries(parts).filter(([, objects]) => objects.length > 0);
  if (own.length === 0) return;
  const resources = own.map(([name]) => `${name}.yaml`);
  files.set(`${folder}/kustomization.yaml`, writeKustomization(resources));
  for (const [name, objects] of own) {
    files.set(`${folder}/${name}.yaml`, writeObjects(objects));
  }
}
