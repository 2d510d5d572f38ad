import type { IApplicationSet, IApplicationSetSpec } from '@kubernetes-models/argo-cd/argoproj.io/v1alpha1';
import type { Environment } from '../environment.ts';
import { followGit } from './applications.ts';
import type { GitOps } from './git-ops.ts';

/**
 * A parent Application for every folder of infra/environments, found by its version.json: a new environment needs no
 * change here. The parent holds the Applications of the layers.
 */
export function environmentsSet(gitOps: GitOps): IApplicationSet {
  const { repoUrl, revision, edge } = gitOps;
  return applicationSet(gitOps, 'fededge-environments', {
    generators: [
      {
        git: {
          repoURL: repoUrl,
          revision,
          files: [
            { path: 'infra/environments/*/version.json' },
            { path: `infra/environments/${edge.environment}/version.json`, exclude: true },
          ],
        },
      },
    ],
    template: {
      metadata: {
        name: 'fededge-{{ .path.basename }}',
        labels: { 'fededge.dev/environment': '{{ .path.basename }}', 'fededge.dev/version': '{{ .tag }}' },
      },
      spec: {
        project: 'fededge',
        source: {
          repoURL: repoUrl,
          targetRevision: revision,
          path: 'infra/manifests/argocd/environments/{{ .path.basename }}',
        },
        destination: { server: 'https://kubernetes.default.svc', namespace: gitOps.namespace },
        // What the image updater writes into its applications is not undone.
        ignoreDifferences: [
          { group: 'argoproj.io', kind: 'Application', jsonPointers: ['/spec/source/kustomize'] },
        ],
        syncPolicy: {
          automated: { prune: true, selfHeal: true },
          syncOptions: ['RespectIgnoreDifferences=true'],
        },
      },
    },
  });
}

/** One Application for each edge site: all of the edge environment, on that site's cluster. */
export function edgeSitesSet(environment: Environment, gitOps: GitOps): IApplicationSet {
  return applicationSet(gitOps, 'fededge-edge-sites', {
    generators: [{ list: { elements: gitOps.edge.sites.map((site) => ({ ...site })) } }],
    template: {
      metadata: {
        name: 'fededge-edge-{{ .name }}',
        labels: { 'fededge.dev/environment': environment.name, 'fededge.dev/site': '{{ .name }}' },
      },
      spec: {
        project: `fededge-${environment.name}`,
        source: {
          repoURL: gitOps.repoUrl,
          targetRevision: gitOps.revision,
          path: `infra/manifests/${environment.name}`,
        },
        destination: { name: '{{ .cluster }}', namespace: environment.settings.namespace },
        ...followGit(environment, { keeps: true }),
      },
    },
  });
}

function applicationSet(
  gitOps: GitOps,
  name: string,
  spec: Pick<IApplicationSetSpec, 'generators' | 'template'>,
): IApplicationSet {
  return {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'ApplicationSet',
    metadata: { name, namespace: gitOps.namespace },
    spec: {
      goTemplate: true,
      goTemplateOptions: ['missingkey=error'],
      // An environment whose folder is gone by mistake keeps running.
      syncPolicy: { preserveResourcesOnDeletion: true },
      ...spec,
    },
  };
}
