import { join } from 'node:path';
import type { Cluster } from './clusters.ts';
import { run } from './commands.ts';
import type { Kubectl, KubeObject } from './kubectl.ts';
import { binaries, scripts } from './places.ts';
import { waitFor } from './waiting.ts';

export interface Application extends KubeObject {
  /** What is being done. Argo CD removes it at the end; what `operationState` says of the end can be overwritten. */
  operation?: object;
  status: {
    sync?: { status: string; revision?: string };
    health?: { status: string; message?: string };
    conditions?: { type: string; message: string }[];
    operationState?: { phase: string; message?: string; finishedAt?: string };
    resources?: {
      kind: string;
      name: string;
      status?: string;
      health?: { status: string; message?: string };
    }[];
  };
}

const ARGOCD = 'argocd';
/** Of every bare repository that the test makes. */
export const gitUrl = (name: string) => `git://127.0.0.1:12418/${name}.git`;

/** A core Argo CD as processes of this machine, on the cluster. */
export async function startArgoCd(
  cluster: Cluster,
  state: string,
  repos: string,
  signal: AbortSignal,
): Promise<void> {
  const env = { KUBECONFIG: cluster.kubeconfig };
  await run('bash', [join(scripts, 'argocd.sh'), binaries, state, repos], {
    env,
    signal,
    timeoutMs: 180_000,
  });
}

/** Those of the environment dev: the others' clusters are not here. */
export function listApplications(kubectl: Kubectl): Promise<Application[]> {
  return kubectl.list<Application>('applications.argoproj.io', ARGOCD, 'fededge.dev/environment=dev');
}

export function find(kubectl: Kubectl, name: string): Promise<Application | undefined> {
  return kubectl.find<Application>('applications.argoproj.io', name, ARGOCD);
}

/** Waits until every one of them has applied the commit (or what it has of it) and is Healthy. */
export async function waitForHealthy(
  kubectl: Kubectl,
  commit: string,
  seconds = 180,
): Promise<Application[]> {
  return waitFor(
    `Argo CD is Synced and Healthy at ${commit.slice(0, 8)}`,
    async () => {
      const applications = await listApplications(kubectl);
      const late = applications.filter(
        (one) => !isAt(one, commit) || one.status.health?.status !== 'Healthy',
      );
      if (applications.length > 0 && late.length === 0) return applications;
      throw new Error(late.map(describe).join('; ') || 'there is no Application');
    },
    { seconds },
  );
}

/** An operation that has an end is over, whatever its phase still says. */
function isAt({ status }: Application, commit: string): boolean {
  const { sync, operationState } = status ?? {};
  const isWorking = operationState !== undefined && operationState.finishedAt === undefined;
  return sync?.status === 'Synced' && sync.revision === commit && !isWorking;
}

export function describe({ metadata, status }: Application): string {
  const { sync, health, operationState, conditions = [], resources = [] } = status ?? {};
  const ill = resources.filter((one) => one.health && one.health.status !== 'Healthy');
  const parts = ill.map(
    ({ kind, name, health }) => `${kind}/${name} ${health?.status} ${health?.message ?? ''}`,
  );
  const failed =
    operationState?.phase === 'Failed' || operationState?.phase === 'Error' ? [operationState.message] : [];
  const more = [...parts, ...failed, ...conditions.map(({ message }) => message)].join(', ').slice(0, 400);
  return `${metadata.name}: ${sync?.status} ${health?.status}${more && ` (${more})`}`;
}
