import type {
  IApplication,
  IApplicationSpec,
  IResourceIgnoreDifferences,
  ISyncPolicy,
} from '@kubernetes-models/argo-cd/argoproj.io/v1alpha1';
import type { Environment } from '../environment.ts';
import { names } from '../names.ts';
import { type LayerName, layerNames } from '../part.ts';
import type { GitOps } from './git-ops.ts';
import { destinationsOf } from './projects.ts';

/** An Application for each layer of an environment. A layer waits until the ones before it are healthy. */
export function layerApplications(
  environment: Environment,
  layers: readonly LayerName[],
  gitOps: GitOps,
): IApplication[] {
  const [destination] = destinationsOf(environment, gitOps);
  if (!destination) throw new Error(`argocd: ${environment.name} has no cluster`);
  return layers.map((layer) => ({
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'Application',
    metadata: {
      name: `fededge-${environment.name}-${layer}`,
      namespace: gitOps.namespace,
      labels: { 'app.kubernetes.io/part-of': names.app, 'fededge.dev/environment': environment.name },
      annotations: { 'argocd.argoproj.io/sync-wave': String(layerNames.indexOf(layer)) },
    },
    spec: {
      project: `fededge-${environment.name}`,
      source: {
        repoURL: gitOps.repoUrl,
        targetRevision: gitOps.revision,
        path: `infra/manifests/${environment.name}/${layer}`,
      },
      destination,
      ...followGit(environment, { keeps: layer === 'data', waits: layer === 'rollout' }),
    },
  }));
}

/**
 * Git is the state: what is changed by hand goes back, what left git goes, unless it holds data (`keeps`). Numbers of
 * replicas that an autoscaler sets are left to it. A layer that `waits` has Jobs that wait for what may never come: what
 * would be pruned last would wait for them, and the next commit, a revert perhaps, for that.
 */
export function followGit(
  { settings }: Environment,
  { keeps, waits = false }: { keeps: boolean; waits?: boolean },
): Pick<IApplicationSpec, 'syncPolicy' | 'ignoreDifferences' | 'revisionHistoryLimit'> {
  const { keda, argoRollouts } = settings.flavours;
  const scaled: Record<string, boolean> = {
    [names.api]: keda || argoRollouts || settings.api.autoscaling !== undefined,
    [names.worker]: keda,
  };
  const ignoreDifferences = Object.keys(scaled)
    .filter((name) => scaled[name])
    .map(
      (name): IResourceIgnoreDifferences => ({
        group: 'apps',
        kind: 'Deployment',
        name,
        jsonPointers: ['/spec/replicas'],
      }),
    );
  return {
    revisionHistoryLimit: 10,
    syncPolicy: syncPolicy(keeps, waits),
    ...(ignoreDifferences.length > 0 && { ignoreDifferences }),
  };
}

function syncPolicy(keeps: boolean, waits: boolean): ISyncPolicy {
  return {
    automated: { prune: !keeps, selfHeal: true },
    syncOptions: [
      'ServerSideApply=true',
      'RespectIgnoreDifferences=true',
      'FailOnSharedResource=true',
      ...(waits ? [] : ['PruneLast=true']),
    ],
    retry: { limit: 5, refresh: true, backoff: { duration: '5s', factor: 2, maxDuration: '3m' } },
  };
}
