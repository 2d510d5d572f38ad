import type { Environment } from '../environment.ts';
import type { k8s } from '../kubernetes.ts';
import { names } from '../names.ts';
import { serviceUrl } from './configuration.ts';
import { podOf } from './pods.ts';
import { secretFile } from './volumes.ts';

const KEY = 'operator-key';

/** Waits for one release and tells what becomes of it. It reads alone: a viewer's key is enough. */
export function releasePod(
  environment: Environment,
  { model, content, patienceSeconds }: { model: string; content: string; patienceSeconds: number },
): k8s.PodTemplateSpec {
  return podOf(environment, {
    component: 'release',
    args: ['release', '--model', model, '--content', content, '--timeout', String(patienceSeconds)],
    resources: { cpu: '50m', memory: '128Mi' },
    env: [
      { name: 'FEDEDGE_URL', value: serviceUrl(environment) },
      { name: 'FEDEDGE_OPERATOR_KEY_FILE', value: `/etc/fededge/operator/${KEY}` },
    ],
    volumes: [secretFile('operator', names.releaseSecret, { key: KEY, path: KEY }, '/etc/fededge/operator')],
    pod: { restartPolicy: 'Never' },
  });
}
