import type { Environment } from '../environment.ts';
import type { Chart } from '../kubernetes.ts';
import { labelsOf } from '../names.ts';
import { objectName, type ServedRelease, servedReleases, weightsPath } from './served-releases.ts';
import { addObject } from './typed-object.ts';

/** An rclone configuration: a remote `fededge` of type http with the API's URL and an operator's key. */
const SECRET = 'fededge-rclone';

/**
 * Seldon Core 2: a Model for each release, and for the version before it while the release is in steps; an Experiment
 * then splits the traffic between the two as the release's first step does. A Server of the cluster has to offer
 * `safetensors`.
 */
export function seldon(chart: Chart, environment: Environment): void {
  if (!environment.settings.flavours.seldon) return;
  for (const release of servedReleases(environment)) {
    const candidate = addRelease(chart, environment, release);
    const { model, previous, firstPercent } = release;
    if (previous === undefined || firstPercent === 100) continue;
    const stable = objectName(model, `v${previous}`);
    addModel(chart, environment, stable, `fededge:${weightsPath(model, previous)}`);
    addObject(chart, {
      apiVersion: 'mlops.seldon.io/v1alpha1',
      kind: 'Experiment',
      metadata: { name: objectName(model), labels: labelsOf(environment) },
      spec: {
        default: stable,
        candidates: [
          { name: stable, weight: Math.round(100 - firstPercent) },
          { name: candidate, weight: Math.round(firstPercent) },
        ],
      },
    });
  }
}

/** Named by its digest: other bytes are another model, that can be compared with this one. */
function addRelease(
  chart: Chart,
  environment: Environment,
  { model, digest, source }: ServedRelease,
): string {
  const name = objectName(model, digest.replace('sha-256:', '').slice(0, 10));
  addModel(chart, environment, name, storageUri(model, source));
  return name;
}

function storageUri(model: string, source: ServedRelease['source']): string {
  if ('version' in source) return `fededge:${weightsPath(model, source.version)}`;
  if ('s3' in source) return source.s3;
  if ('url' in source) return source.url;
  throw new Error(`flavours.seldon: ${model}: Seldon reads no OCI registry; name an S3 object or a version`);
}

function addModel(chart: Chart, environment: Environment, name: string, storageUri: string): void {
  addObject(chart, {
    apiVersion: 'mlops.seldon.io/v1alpha1',
    kind: 'Model',
    metadata: { name, labels: labelsOf(environment) },
    spec: {
      storageUri,
      ...(storageUri.startsWith('fededge:') && { secretName: SECRET }),
      requirements: ['safetensors'],
      memory: '256Mi',
      replicas: 1,
    },
  });
}
