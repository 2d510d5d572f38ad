import type { Environment } from '../environment.ts';
import type { Chart } from '../kubernetes.ts';

/**
 * K3s on one node: one pod with API, worker and database on one volume, replaced by stopping it first. It adds no object;
 * it holds the settings to that form. What K3s itself has to be told (a mirror of the registry, a Traefik that lets long
 * uploads through) are files of the node, in infra/k3s.
 */
export function k3s(_: Chart, { settings }: Environment): void {
  const { flavours, database, api, blobs } = settings;
  if (!flavours.k3s) return;
  if (database.kind !== 'embedded' || api.replicas !== 1 || api.autoscaling) {
    throw new Error('flavours.k3s: one node has one pod (database embedded, api.replicas 1)');
  }
  if (blobs.kind !== 'volume') throw new Error('flavours.k3s: blobs are files on the volume');
}
