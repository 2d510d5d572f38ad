import type { Environment } from '../environment.ts';
import type { k8s } from '../kubernetes.ts';
import { names, selectorOf } from '../names.ts';
import { blobVariables, databaseVariables } from './configuration.ts';
import { podOf } from './pods.ts';
import { claimed, dataFolder } from './volumes.ts';

/** A backup has the pod's name, which has the time (in minutes since 1970) of its schedule. */
export function backupPod(environment: Environment): k8s.PodTemplateSpec {
  const isEmbedded = environment.settings.database.kind === 'embedded';
  return podOf(environment, {
    component: 'backup',
    args: ['backup', '--to', '/backup/$(POD_NAME).tar'],
    configured: true,
    resources: { cpu: '250m', memory: '512Mi' },
    env: [
      { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
      ...databaseVariables(environment),
      ...blobVariables(environment),
    ],
    volumes: [dataFolder(environment), claimed('backup', names.backup, '/backup')],
    pod: { restartPolicy: 'Never', ...(isEmbedded && { affinity: besideTheApi }) },
  });
}

/** The embedded database listens on a socket in its volume alone. */
const besideTheApi: k8s.Affinity = {
  podAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: [
      { labelSelector: { matchLabels: selectorOf('api') }, topologyKey: 'kubernetes.io/hostname' },
    ],
  },
};
