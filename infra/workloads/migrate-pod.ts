import type { Environment } from '../environment.ts';
import type { k8s } from '../kubernetes.ts';
import { databaseVariables } from './configuration.ts';
import { podOf } from './pods.ts';

/** Brings the database to the image's schema. It needs nothing but the database. */
export function migratePod(environment: Environment): k8s.PodTemplateSpec {
  return podOf(environment, {
    component: 'migrate',
    args: ['migrate'],
    resources: { cpu: '100m', memory: '256Mi' },
    env: databaseVariables(environment),
    pod: { restartPolicy: 'Never' },
  });
}
