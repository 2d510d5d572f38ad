import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Device } from '../../support/acceptance/devices.ts';
import { expectStatus } from '../../support/acceptance/requests.ts';
import { describe, find, waitForHealthy } from '../applications.ts';
import { MODEL, makeNoise } from '../digits.ts';
import { enrol } from '../fleet.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { waitFor } from '../waiting.ts';

const FILE = `infra/environments/dev/models/${MODEL}.yaml`;
const CANARY_PERCENT = 35;
const CANARIES = 2;

interface Release {
  id: string;
  state: string;
  reason: string | null;
  step: number;
  steps: number;
  version: number | null;
  previous: number | null;
  gate: { value: number | null; reports: number; holds: boolean } | null;
}

export const goodVersion: Step<Scene> = {
  name: 'a commit of models/mnist.yaml rolls a version out, the canaries first',
  async run(scene) {
    const { operator, repository, cluster, signal } = scene;
    const { head } = await operator.getModel(MODEL);
    const probes = await enrol(operator, scene.service.url, 'probe', 8);
    const { salt, inside, outside } = chooseSalt(await agentIds(scene), probes);
    const release = { version: head!, previous: 1, salt };
    const seen: Release[] = [];
    const commit = await repository.commit('feat(models): mnist to devices', {
      [FILE]: await releaseFile(scene, release),
    });
    const canary = await waitFor(
      'the canaries have the version',
      async () => watch(scene, head!, seen).then(({ state }) => state !== 'waiting'),
      { signal, everyMs: 100 },
    );
    assert.ok(canary);
    assert.equal(await currentOf(inside), head, 'a canary gets the version');
    const first = await currentOf(outside);
    const done = await waitFor(
      'the release is complete',
      async () => watch(scene, head!, seen).then((one) => one.state === 'complete' && one),
      { signal, seconds: 120 },
    );
    const atCanaries = seen.filter(({ state, step }) => state === 'rolling' && step === 0);
    assert.ok(atCanaries.length > 0, 'the release was seen at its first step');
    assert.equal(first, 1, 'everybody else keeps the previous version');
    assert.ok(
      atCanaries.every(({ gate }) => (gate?.reports ?? 0) <= CANARIES),
      'none but canaries reported at the first step',
    );
    assert.equal(await currentOf(outside), head);
    await waitForHealthy(cluster.kubectl, commit);
    scene.goodRelease = { ...release, probes: { inside, outside } };
    return `version ${head}: ${CANARIES} canaries of ${(await agentIds(scene)).length}, then everybody; reported accuracy ${done.gate?.value?.toFixed(3)}; Healthy`;
  },
};

export const badVersion: Step<Scene> = {
  name: 'a bad version pauses itself, and Argo CD shows Degraded',
  async run(scene) {
    const { operator, repository, cluster, signal, goodRelease } = scene;
    const weights = await operator.downloadWeights(MODEL, goodRelease.version);
    const { version } = await operator.uploadVersion(MODEL, makeNoise(weights));
    const release = { version, previous: goodRelease.version, salt: goodRelease.salt };
    scene.badCommit = await repository.commit('feat(models): mnist, a version that guesses', {
      [FILE]: await releaseFile(scene, release),
    });
    const paused = await waitFor(
      'the release is paused',
      async () => watch(scene, version, []).then((one) => one.state === 'paused' && one),
      { signal },
    );
    assert.equal(paused.step, 0, 'it came no further than the canaries');
    assert.equal(
      await currentOf(goodRelease.probes.inside),
      goodRelease.version,
      'canaries are back at the previous version',
    );
    const application = await waitFor(
      'Argo CD shows Degraded',
      async () =>
        find(cluster.kubectl, 'fededge-dev-rollout').then(
          (one) => one?.status.health?.status === 'Degraded' && one,
        ),
      { signal },
    );
    return `version ${version}: ${paused.reason}; ${describe(application)}`;
  },
};

export const revert: Step<Scene> = {
  name: 'git revert restores the good version',
  async run(scene) {
    const { repository, cluster, goodRelease, signal } = scene;
    const commit = await repository.revert(scene.badCommit);
    await waitFor(
      'the good release is the active one, complete at once',
      async () => watch(scene, goodRelease.version, []).then(({ state }) => state === 'complete'),
      { signal },
    );
    await waitForHealthy(cluster.kubectl, commit);
    for (const probe of Object.values(goodRelease.probes))
      assert.equal(await currentOf(probe), goodRelease.version);
    return `version ${goodRelease.version} on all devices, Applications Healthy`;
  },
};

async function releaseFile(
  { operator }: Scene,
  release: { version: number; previous: number; salt: string },
): Promise<string> {
  const { digest } = await operator.getVersion(MODEL, release.version);
  return `model: ${MODEL}
version: ${release.version}
digest: sha-256:${digest}
previous: ${release.previous}
salt: ${release.salt}
cohorts:
  - name: everyone
    percent: [${CANARY_PERCENT}, 100]
gate:
  metric: accuracy
  atLeast: 0.5
  reports: ${CANARIES}
bakeSeconds: 3
`;
}

/** The release that names the version and is not superseded, as it is now; kept in `seen`. */
async function watch(
  { service, operatorKey, signal }: Scene,
  version: number,
  seen: Release[],
): Promise<Release> {
  const headers = { authorization: `Bearer ${operatorKey}` };
  const response = await fetch(`${service.url}/v1/releases?model=${MODEL}`, { headers, signal });
  const { items } = (await response.json()) as { items: Release[] };
  const found = items.find((one) => one.version === version && one.state !== 'superseded');
  if (!found)
    throw new Error(
      items.map((one) => `version ${one.version} ${one.state} ${one.reason ?? ''}`).join('; ') ||
        'there is no release',
    );
  seen.push(found);
  return found;
}

async function currentOf(device: Device): Promise<number> {
  const answer = await device.request({ method: 'GET', path: `/v1/models/${MODEL}/current` });
  return expectStatus<{ version: number }>(answer, 200).version;
}

async function agentIds({ operator }: Scene): Promise<string[]> {
  const devices = await operator.listDevices();
  return devices
    .filter(({ labels, state }) => labels.site === 'lab' && state === 'active')
    .map(({ id }) => id);
}

/** Buckets as the contract has them. A salt that makes canaries of exactly two agents, and of some probes but not all. */
function chooseSalt(agents: readonly string[], probes: readonly Device[]) {
  for (let number = 1; number < 100_000; number += 1) {
    const salt = `${MODEL}-${number}`;
    const isCanary = (id: string) => {
      const hash = createHash('sha256').update(`${salt}:${id}`).digest();
      return hash.readUInt32BE(0) % 10_000 < CANARY_PERCENT * 100;
    };
    const inside = probes.find(({ id }) => isCanary(id));
    const outside = probes.find(({ id }) => !isCanary(id));
    if (inside && outside && agents.filter(isCanary).length === CANARIES) return { salt, inside, outside };
  }
  throw new Error('no salt makes two canaries');
}
