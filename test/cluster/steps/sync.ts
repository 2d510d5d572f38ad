import assert from 'node:assert/strict';
import { join } from 'node:path';
import { createOperator } from '../../../clients/typescript/index.ts';
import { find, listApplications, startArgoCd } from '../applications.ts';
import { isReady, type KubeObject, NAMESPACE } from '../kubectl.ts';
import { dataFolder, type Scene } from '../scene.ts';
import { openService } from '../services.ts';
import type { Step } from '../step-runner.ts';
import { waitFor } from '../waiting.ts';

const ENVIRONMENT = 'infra/environments/dev';
const GIT_OPS = 'infra/argocd/git-ops.ts';

/** What a team does that takes FedEdge over: its own repository, its own image, its own folders, one commit. */
export const syncFromGit: Step<Scene> = {
  name: 'Argo CD finds the environment dev in git',
  essential: true,
  async run(scene) {
    const { cluster, state, repository, signal, images } = scene;
    await startArgoCd(cluster, state, join(state, 'repos'), signal);
    const settings = await repository.read(`${ENVIRONMENT}/settings.ts`);
    const gitOps = await repository.read(GIT_OPS);
    scene.firstCommit = await repository.commit('chore(infra): dev on the test cluster', {
      [`${ENVIRONMENT}/settings.ts`]: settings.replaceAll('/var/lib/fededge/dev', dataFolder(scene)),
      [`${ENVIRONMENT}/version.json`]: versionFile(images.name, images.first),
      [GIT_OPS]: gitOps.replace(/repoUrl: '[^']*'/, `repoUrl: '${repository.url}'`),
    });
    const folder = join(repository.folder, 'infra', 'manifests', 'argocd');
    await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-k', folder]);
    const found = await waitFor(
      'the ApplicationSet has made the Applications of dev',
      async () => {
        const names = (await listApplications(cluster.kubectl)).map(({ metadata }) => metadata.name);
        return names.includes('fededge-dev-server') && names;
      },
      { signal, seconds: 180 },
    );
    return found.filter((name) => name.startsWith('fededge-dev')).join(', ');
  },
};

export function versionFile(image: string, tag: string): string {
  return `${JSON.stringify({ image, tag }, null, 2)}\n`;
}

export const serverHealthy: Step<Scene> = {
  name: 'the migration is done; API (2 replicas) and worker are Healthy',
  essential: true,
  async run(scene) {
    const { cluster, signal, operatorKey, atEnd } = scene;
    const { kubectl } = cluster;
    await waitFor(
      'the layer `server` is Synced and Healthy',
      async () => {
        const status = (await find(kubectl, 'fededge-dev-server'))?.status;
        if (status?.sync?.status === 'Synced' && status.health?.status === 'Healthy') return true;
        throw new Error(
          `${status?.sync?.status} ${status?.health?.status} ${status?.operationState?.message ?? ''}`,
        );
      },
      { signal, seconds: 180 },
    );
    const jobs = await kubectl.list<KubeObject & { status: { succeeded?: number } }>(
      'jobs',
      NAMESPACE,
      'app.kubernetes.io/component=migrate',
    );
    assert.ok(
      jobs.some(({ status }) => status.succeeded === 1),
      'a migration Job has succeeded',
    );
    const [api, worker] = await Promise.all(['api', 'worker'].map((one) => kubectl.pods(component(one))));
    assert.deepEqual([api?.filter(isReady).length, worker?.filter(isReady).length], [2, 1]);
    scene.service = await openService(cluster);
    atEnd(scene.service.close);
    scene.operator = createOperator({ url: scene.service.url, key: operatorKey, signal, attempts: 40 });
    await scene.operator.listDevices();
    return `2 API pods and 1 worker ready; NetworkPolicies are there, but the bridge network of this cluster does not enforce them`;
  },
};

export function component(name: string): string {
  return `app.kubernetes.io/name=fededge,app.kubernetes.io/component=${name}`;
}
