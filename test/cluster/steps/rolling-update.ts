import assert from 'node:assert/strict';
import { waitForHealthy } from '../applications.ts';
import { startFleet } from '../fleet.ts';
import { isReady } from '../kubectl.ts';
import { type LongRun, startLongRun } from '../long-run.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { component, versionFile } from './sync.ts';

export const rollingUpdate: Step<Scene> = {
  name: 'a commit of version.json rolls the API in mid-round: nothing is lost, nothing fails',
  async run(scene) {
    const { operator, service } = scene;
    scene.longRun = await startLongRun(scene);
    const fleet = await startFleet(operator, service.url);
    try {
      const number = await rollInMidRound(scene, scene.longRun);
      const { operations, updates, versions } = await fleet.stopAndCheck();
      return `round ${number} completed; ${operations} operations and ${updates} acknowledged updates in ${versions} versions of the witnesses, none failed, none lost`;
    } finally {
      fleet.stop();
    }
  },
};

/** Resolves to the round's number. */
async function rollInMidRound(scene: Scene, longRun: LongRun): Promise<number> {
  const { cluster, repository, images } = scene;
  const apiPods = () => cluster.kubectl.pods(component('api'));
  await longRun.whole();
  const round = await longRun.middleOfRound();
  const before = (await apiPods()).map(({ metadata }) => metadata.name);
  const commit = await repository.commit('feat(environments): dev runs the next version', {
    'infra/environments/dev/version.json': versionFile(images.name, images.second),
  });
  await waitForHealthy(cluster.kubectl, commit, 240);
  const after = await apiPods();
  const image = `${images.name}:${images.second}`;
  assert.deepEqual(
    after
      .filter((pod) => isReady(pod) && !before.includes(pod.metadata.name))
      .map(({ spec }) => spec.containers[0]?.image),
    [image, image],
    'two new pods run the new image',
  );
  await longRun.completed(round);
  return round.number;
}
