import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { parse } from 'yaml';
import { contentHash } from '../../../infra/catalog/content-hash.ts';
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
/** Untrained: what all others have until the release comes to them. */
const FIRST_VERSION = 1;

interface Release {
  id: string;
  contentHash: string;
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
    const { operator, repository, cluster } = scene;
    const { head } = await operator.getModel(MODEL);
    const version = head!;
    const agents = await agentIds(scene);
    const probes = await enrol(operator, scene.service.url, 'probe', 8);
    const { salt, inside, outside } = chooseSalt(agents, probes);
    const file = await releaseFile(scene, { version, previous: FIRST_VERSION, salt });
    const commit = await repository.commit('feat(models): mnist to devices', { [FILE]: file });
    scene.goodRelease = { version, salt, file, probes: { inside, outside } };
    const value = await watchCanary(scene);
    await waitForHealthy(cluster.kubectl, commit);
    return `version ${version}: ${CANARIES} canaries of ${agents.length} devices, then everybody; they reported an accuracy of ${value?.toFixed(3)}; Healthy`;
  },
};

/** Resolves to what the devices reported, once all of them have the version. */
async function watchCanary(scene: Scene): Promise<number | null | undefined> {
  const { version, file, probes } = scene.goodRelease;
  const seen: Release[] = [];
  const look = (state: string) => async () => {
    const release = await watch(scene, file);
    seen.push(release);
    return release.state === state && release;
  };
  await waitFor('the canaries have the version', look('rolling'), { signal: scene.signal, everyMs: 100 });
  const early = await Promise.all([currentOf(probes.inside), currentOf(probes.outside)]);
  assert.deepEqual(
    early,
    [version, FIRST_VERSION],
    'canaries get the version, the others keep the previous one',
  );
  const done = await waitFor('the release is complete', look('complete'), { signal: scene.signal });
  const atCanaries = seen.filter(({ state, step }) => state === 'rolling' && step === 0);
  const reports = Math.max(...atCanaries.map(({ gate }) => gate?.reports ?? 0));
  assert.ok(reports <= CANARIES, `${reports} devices reported while ${CANARIES} had the version`);
  assert.equal(await currentOf(probes.outside), version, 'in the end all get the version');
  return done.gate?.value;
}

export const badVersion: Step<Scene> = {
  name: 'a bad version pauses itself, and Argo CD shows Degraded',
  async run(scene) {
    const { operator, repository, cluster, signal, goodRelease } = scene;
    const weights = await operator.downloadWeights(MODEL, goodRelease.version);
    const { version } = await operator.uploadVersion(MODEL, makeNoise(weights));
    const file = await releaseFile(scene, { version, previous: goodRelease.version, salt: goodRelease.salt });
    scene.badCommit = await repository.commit('feat(models): mnist, a version that guesses', {
      [FILE]: file,
    });
    const isPaused = async () => {
      const release = await watch(scene, file);
      return release.state === 'paused' && release;
    };
    const paused = await waitFor('the release is paused', isPaused, { signal });
    assert.equal(paused.step, 0, 'it came no further than the canaries');
    assert.equal(await currentOf(goodRelease.probes.inside), goodRelease.version, 'canaries go back');
    const isDegraded = async () => {
      const application = await find(cluster.kubectl, 'fededge-dev-rollout');
      return application?.status.health?.status === 'Degraded' && application;
    };
    const application = await waitFor('Argo CD shows Degraded', isDegraded, { signal });
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
      async () => (await watch(scene, goodRelease.file)).state === 'complete',
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
bakeSeconds: 5
`;
}

/** The release of the file, if it is the active one, as it is now. */
async function watch({ service, operatorKey, signal }: Scene, file: string): Promise<Release> {
  const headers = { authorization: `Bearer ${operatorKey}` };
  const response = await fetch(`${service.url}/v1/releases?model=${MODEL}`, { headers, signal });
  const { items } = (await response.json()) as { items: Release[] };
  const found = items.find(
    (one) => one.contentHash === contentHash(parse(file)) && one.state !== 'superseded',
  );
  if (!found)
    throw new Error(
      items.map((one) => `version ${one.version} ${one.state} ${one.reason ?? ''}`).join('; ') ||
        'there is no release',
    );
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
