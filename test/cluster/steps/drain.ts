import assert from 'node:assert/strict';
import { CommandError } from '../commands.ts';
import { isReady, type Kubectl, type KubeObject, NAMESPACE } from '../kubectl.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { waitFor } from '../waiting.ts';
import { component } from './sync.ts';

/** With every node closed to new pods, a drain may take the first API pod and has to leave the second. */
export const nodeDrain: Step<Scene> = {
  name: 'a drain of the node takes one API pod at a time',
  async run({ cluster: { kubectl }, operator, signal }) {
    const ready = async () => (await kubectl.pods(component('api'))).filter(isReady);
    await waitFor('two API pods are ready', async () => (await ready()).length === 2, { signal });
    const nodes = (await kubectl.list<KubeObject>('nodes', NAMESPACE)).map(({ metadata }) => metadata.name);
    await kubectl(['cordon', ...nodes]);
    let refusal: string;
    try {
      refusal = await drain(kubectl, nodes);
      assert.equal((await ready()).length, 1, 'one API pod is left');
      await operator.listDevices();
      assert.equal(
        await evict(kubectl, (await ready())[0]!.metadata.name),
        'refused',
        'the second eviction gets 429',
      );
    } finally {
      await kubectl(['uncordon', ...nodes]);
    }
    await waitFor('two API pods are ready again', async () => (await ready()).length === 2, { signal });
    assert.equal(
      await evict(kubectl, (await ready())[0]!.metadata.name),
      'evicted',
      'now the next one may go',
    );
    await waitFor('two API pods are ready at the end', async () => (await ready()).length === 2, { signal });
    return refusal;
  },
};

/** Resolves to why it came to no end. */
async function drain(kubectl: Kubectl, nodes: readonly string[]): Promise<string> {
  const selector = `--pod-selector=${component('api')}`;
  try {
    await kubectl([
      'drain',
      ...nodes,
      selector,
      '--ignore-daemonsets',
      '--delete-emptydir-data',
      '--timeout=25s',
    ]);
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    const refusal = error.output.split('\n').find((line) => line.includes('disruption budget'));
    if (refusal) return `the drain waits: ${refusal.replace(/.*(Cannot evict)/, '$1')}`;
    throw error;
  }
  throw new Error('the drain took both API pods');
}

async function evict(kubectl: Kubectl, name: string): Promise<'evicted' | 'refused'> {
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: NAMESPACE } };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods/${name}/eviction`;
  try {
    await kubectl(['create', '--raw', path, '-f', '-'], { input: JSON.stringify(eviction) });
    return 'evicted';
  } catch (error) {
    if (error instanceof CommandError && /TooManyRequests|disruption budget/.test(error.output))
      return 'refused';
    throw error;
  }
}
