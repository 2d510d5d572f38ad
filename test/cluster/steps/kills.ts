import assert from 'node:assert/strict';
import { NAMESPACE } from '../kubectl.ts';
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
    async run({ cluster: { kubectl }, longRun }) {
      const round = await longRun.middleOfRound();
      const [victim] = await kubectl.pods(component(part));
      assert.ok(victim, `there is a pod of ${part}`);
      const { name } = victim.metadata;
      await kubectl(['delete', 'pod', name, '-n', NAMESPACE, '--grace-period=0', '--force', '--wait=false']);
      const done = await longRun.completed(round);
      const next = await longRun.nextCompleted(done);
      return `${name}; round ${done.number} with ${done.accepted} updates, round ${next.number} with ${next.accepted}`;
    },
  };
}
