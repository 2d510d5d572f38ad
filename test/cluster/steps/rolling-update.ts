import assert from 'node:assert/strict';
import { waitForHealthy } from '../applications.ts';
import { startFleet } from '../fleet.ts';
import { isReady } from '../kubectl.ts';
import { startLongRun } from '../long-run.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { component, versionFile } from './sync.ts';

export const rollingUpdate: Step<Scene> = {
  name: 'a commit of version.json rolls the API in mid-round: nothing is lost, nothing fails',
  async run(scene) {
    const { cluster, repository, images, operator, service } = scene;
    scene.longRun = await startLongRun(scene);
    const fleet = await startFleet(operator, service.url);
    await scene.longRun.whole();
    const round = await scene.longRun.middleOfRound();
    const before = (await cluster.kubectl.pods(component('api'))).map(({ metadata }) => metadata.name);
    const commit = await repository.commit('feat(environments): dev runs the next version', {
      'infra/environments/dev/version.json': versionFile(images.name, images.second),
    });
    await waitForHealthy(cluster.kubectl, commit, 240);
    const pods = await cluster.kubectl.pods(component('api'));
    const image = `${images.name}:${images.second}`;
    assert.ok(
      pods.every(({ spec }) => spec.containers[0]?.image === image),
      'all API pods run the new image',
    );
    assert.ok(
      pods.every(isReady) && pods.every(({ metadata }) => !before.includes(metadata.name)),
      'all API pods are new',
    );
    await scene.longRun.completed(round);
    const { operations, updates, versions } = await fleet.stopAndCheck();
    return `round ${round.number} completed; ${operations} operations and ${updates} acknowledged updates in ${versions} versions of the witnesses, none failed, none lost`;
  },
};
