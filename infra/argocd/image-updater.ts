import type { GitOps } from './git-ops.ts';

/**
 * One environment runs a new image as soon as the registry has it (Argo CD Image Updater 1.x). It writes into the
 * applications, not into git: version.json stays what people promote, and what the environment falls back to.
 */
export function imageUpdater({ namespace, follows }: GitOps): object[] {
  if (!follows) return [];
  return [
    {
      apiVersion: 'argocd-image-updater.argoproj.io/v1alpha1',
      kind: 'ImageUpdater',
      metadata: { name: `fededge-${follows.environment}`, namespace },
      spec: {
        writeBackConfig: { method: 'argocd' },
        commonUpdateSettings: {
          updateStrategy: 'semver',
          allowTags: 'regexp:^\\d+\\.\\d+\\.\\d+$',
          platforms: ['linux/amd64', 'linux/arm64'],
        },
        applicationRefs: [
          {
            namePattern: `fededge-${follows.environment}-*`,
            images: [
              {
                alias: 'fededge',
                imageName: `${follows.image}:${follows.versions}`,
                manifestTargets: { kustomize: { name: follows.image } },
              },
            ],
          },
        ],
      },
    },
  ];
}
