import type { Environment } from '../environment.ts';
import { type Chart, Yaml } from '../kubernetes.ts';
import { labelsOf } from '../names.ts';
import { addObject } from './typed-object.ts';

/** As Traefik understands it: the largest update over a line of a few megabits a second. */
const UPLOAD = '1800s';

/**
 * K3s on one node: one pod with API, worker and database on one volume, and the Traefik that K3s brings. Traefik 3 by
 * itself cuts a request off whose body takes longer than a minute. What belongs on the node is in infra/k3s.
 */
export function k3s(chart: Chart, environment: Environment): void {
  const { flavours, database, api, blobs, exposure } = environment.settings;
  if (!flavours.k3s) return;
  if (database.kind !== 'embedded' || api.replicas !== 1 || api.autoscaling) {
    throw new Error('flavours.k3s: one node has one pod (database embedded, api.replicas 1)');
  }
  if (blobs.kind !== 'volume') throw new Error('flavours.k3s: blobs are files on the volume');
  if (exposure.kind !== 'ingress' || exposure.className !== 'traefik') return;
  addObject(chart, {
    apiVersion: 'helm.cattle.io/v1',
    kind: 'HelmChartConfig',
    metadata: { name: 'traefik', namespace: 'kube-system', labels: labelsOf(environment) },
    spec: {
      valuesContent: Yaml.stringify({
        ports: {
          websecure: { transport: { respondingTimeouts: { readTimeout: UPLOAD, idleTimeout: '180s' } } },
        },
      }),
    },
  });
}
