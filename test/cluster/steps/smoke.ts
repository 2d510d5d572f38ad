import { isReady } from '../kubectl.ts';
import type { Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';
import { waitFor } from '../waiting.ts';

export const smoke: Step<Scene> = {
  name: 'smoke',
  async run({ cluster: { kubectl }, signal }) {
    const labels = { app: 'smoke' };
    await kubectl.apply([
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'fededge' } },
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'smoke', namespace: 'fededge' },
        spec: {
          replicas: 2,
          selector: { matchLabels: labels },
          template: {
            metadata: { labels },
            spec: { containers: [{ name: 'pause', image: 'docker.io/library/pause:test' }] },
          },
        },
      },
    ]);
    await waitFor(
      'pods are ready',
      async () => {
        const pods = await kubectl.pods('app=smoke');
        return pods.length === 2 && pods.every(isReady);
      },
      { signal, seconds: 60 },
    );
    return 'two pods ready';
  },
};
