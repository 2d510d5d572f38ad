import type { IApplicationDestination, IAppProject } from '@kubernetes-models/argo-cd/argoproj.io/v1alpha1';
import type { Environment } from '../environment.ts';
import type { GitOps } from './git-ops.ts';
import { allowedKinds } from './kinds.ts';

const HERE = 'https://kubernetes.default.svc';

/** Where an environment's objects go. The edge environment goes to all its sites. */
export function destinationsOf({ name, settings }: Environment, gitOps: GitOps): IApplicationDestination[] {
  const { namespace } = settings;
  if (name === gitOps.edge.environment) {
    return gitOps.edge.sites.map(({ cluster }) => ({ name: cluster, namespace }));
  }
  const cluster = gitOps.clusters[name];
  return [cluster === undefined ? { server: HERE, namespace } : { name: cluster, namespace }];
}

/** The project of the parents: Applications, beside Argo CD, and nothing else. */
export function parentProject(gitOps: GitOps): IAppProject {
  return project(gitOps, 'fededge', {
    description: 'Which applications there are.',
    destinations: [{ server: HERE, namespace: gitOps.namespace }],
    namespaceResourceWhitelist: [{ group: 'argoproj.io', kind: 'Application' }],
    clusterResourceWhitelist: [],
  });
}

/** The project of one environment: its kinds, its namespace on its clusters, its hours. */
export function environmentProject(environment: Environment, gitOps: GitOps): IAppProject {
  const { namespaced, clusterWide } = allowedKinds(environment.settings.flavours);
  const closed = gitOps.closedHours[environment.name] ?? [];
  return project(gitOps, `fededge-${environment.name}`, {
    description: `The environment ${environment.name}.`,
    destinations: destinationsOf(environment, gitOps),
    namespaceResourceWhitelist: namespaced,
    clusterResourceWhitelist: clusterWide,
    orphanedResources: { warn: true },
    ...(closed.length > 0 && {
      syncWindows: closed.map(({ from, duration, timeZone }) => ({
        kind: 'deny',
        schedule: from,
        duration,
        timeZone,
        namespaces: [environment.settings.namespace],
        // A rollback at night is an operator's decision, not impossible.
        manualSync: true,
      })),
    }),
  });
}

function project(gitOps: GitOps, name: string, spec: IAppProject['spec']): IAppProject {
  return {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'AppProject',
    metadata: { name, namespace: gitOps.namespace },
    spec: { ...spec, sourceRepos: [gitOps.repoUrl] },
  };
}
