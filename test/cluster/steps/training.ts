import assert from 'node:assert/strict';
import { listApplications, waitForHealthy } from '../applications.ts';
import { createDigitsModel, MODEL } from '../digits.ts';
import { isReady } from '../kubectl.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { waitFor } from '../waiting.ts';
import { secret } from './surroundings.ts';
import { component } from './sync.ts';

export const AGENTS = 6;

export const agentsTrain: Step<Scene> = {
  name: 'six agents in pods train the rounds of the run in git',
  essential: true,
  async run(scene) {
    const { operator, cluster, signal } = scene;
    const { kubectl } = cluster;
    await createDigitsModel(operator);
    // Pods that are replaced are new devices: more than six in the end.
    const { token } = await operator.createEnrollmentToken({
      name: 'lab',
      maxUses: 60,
      expiresInSeconds: 3600,
      labels: { site: 'lab' },
    });
    await kubectl.apply(secret('fededge-agents', { lab: token }));
    await waitFor(
      'six agents are ready and enrolled',
      async () => {
        const pods = await kubectl.pods(component('agent'));
        const devices = await operator.listDevices();
        const [ready, active] = [
          pods.filter(isReady).length,
          devices.filter(({ state }) => state === 'active').length,
        ];
        if (ready === AGENTS && active >= AGENTS) return true;
        throw new Error(
          `${ready} pods ready, ${active} devices, ${(await listApplications(kubectl)).length} applications`,
        );
      },
      { signal, seconds: 180 },
    );
    const run = await waitFor(
      'the run of git is there',
      async () => (await operator.listRuns({ model: MODEL }))[0],
      { signal },
    );
    const began = performance.now();
    const over = await operator.waitForRun(run.id);
    assert.equal(over.state, 'completed', over.reason ?? '');
    const rounds = await operator.listRounds(run.id, 'train');
    const last = rounds.find(({ number }) => number === over.completedRounds)!;
    const score = await waitFor(
      'the last version is scored',
      async () => (await operator.getVersion(MODEL, last.version!)).score ?? undefined,
      { signal },
    );
    assert.ok(score.accuracy! > 0.6, `accuracy ${score.accuracy} after ${over.completedRounds} rounds`);
    await waitForHealthy(kubectl, scene.firstCommit);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    return `${over.completedRounds} rounds, ${last.accepted} updates in the last, accuracy ${score.accuracy!.toFixed(3)}, after ${seconds} s; all Applications are Healthy`;
  },
};
