import type { Environment } from '../../environment.ts';
import type { Chart } from '../../kubernetes.ts';
import { names } from '../../names.ts';
import { claim } from '../../workloads/volumes.ts';

/** Blobs that are files, and the embedded database. With S3 there is nothing to keep. */
export function storage(chart: Chart, environment: Environment): void {
  const { blobs, backup } = environment.settings;
  if (blobs.kind === 'volume') claim(chart, environment, names.data, blobs);
  if (backup) claim(chart, environment, names.backup, backup.volume);
}
