import assert from 'node:assert/strict';
import type { Round } from '../../../clients/typescript/index.ts';
import { type Kubectl, NAMESPACE, type Pod } from '../kubectl.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { component } from './sync.ts';

export const apiKilled = kill('api');
export const workerKilled = kill('worker');
export const agentKilled = kill('agent');

/** At once and without a farewell, in the middle of a round. */
function kill(part: 'api' | 'worker' | 'agent'): Step<Scene> {
  return {
    name: `the round completes when a pod of ${part} is killed in its middle`,
    async run(scene) {
      const { cluster, longRun } = scene;
      const { kubectl } = cluster;
      await longRun.whole();
      const round = await longRun.middleOfRound();
      const victim = await (part === 'agent' ? agentAtWork(scene, round) : firstPod(kubectl, part));
      const { name } = victim.metadata;
      await kubectl(['delete', 'pod', name, '-n', NAMESPACE, '--grace-period=0', '--force', '--wait=false']);
      const done = await longRun.completed(round);
      const next = await longRun.nextCompleted(done);
      return `${name}; round ${done.number} with ${done.accepted} updates, round ${next.number} with ${next.accepted}`;
    },
  };
}

async function firstPod(kubectl: Kubectl, part: string): Promise<Pod> {
  const [pod] = await kubectl.pods(component(part));
  assert.ok(pod, `there is a pod of ${part}`);
  return pod;
}

/** An agent whose update of the round is not there yet. */
async function agentAtWork({ cluster, operator }: Scene, round: Round): Promise<Pod> {
  const [pods, updates, devices] = await Promise.all([
    cluster.kubectl.pods(component('agent')),
    operator.listUpdates(round.id),
    operator.listDevices(),
  ]);
  const done = new Set(updates.map(({ device }) => devices.find(({ id }) => id === device)?.name));
  const pod = pods.find(({ metadata }) => !done.has(metadata.name));
  assert.ok(pod, 'there is an agent at work');
  return pod;
}
