import type { Environment } from '../environment.ts';
import { type Chart, k8s } from '../kubernetes.ts';
import { labelsOf } from '../names.ts';
import { serviceUrl } from '../workloads/configuration.ts';
import { resourcesOf } from '../workloads/pods.ts';
import { objectName, type ReleaseSource, servedReleases, weightsPath } from './served-releases.ts';
import { addObject } from './typed-object.ts';

/**
 * An InferenceService for each release (KServe): the weights that git names, served by whichever runtime of the cluster
 * takes safetensors. KServe splits the traffic as the release's first step does; the digest is in the pods' annotations, so
 * another one is another revision. Weights that FedEdge itself keeps are fetched with the key in the Secret
 * `fededge-serving` (key `https-host` or `http-host`: the API's host, `headers`: `{"Authorization": "Bearer fedop_..."}`).
 */
export function kserve(chart: Chart, environment: Environment): void {
  if (!environment.settings.flavours.kserve) return;
  const releases = servedReleases(environment);
  for (const { model, digest, source, firstPercent, previous } of releases) {
    addObject(chart, {
      apiVersion: 'serving.kserve.io/v1beta1',
      kind: 'InferenceService',
      metadata: { name: objectName(model), labels: labelsOf(environment) },
      spec: {
        predictor: {
          ...(previous !== undefined && firstPercent < 100 && { canaryTrafficPercent: firstPercent }),
          annotations: { 'fededge.dev/digest': digest },
          serviceAccountName: 'fededge-serving',
          automountServiceAccountToken: false,
          minReplicas: 1,
          model: {
            modelFormat: { name: 'safetensors' },
            protocolVersion: 'v2',
            storageUri: storageUri(environment, model, source),
            resources: k8s.toJson_ResourceRequirements(resourcesOf({ cpu: '250m', memory: '1Gi' })),
          },
        },
      },
    });
  }
  if (releases.length > 0) addServiceAccount(chart, environment);
}

/** The Secrets of a ServiceAccount are KServe's way to give a download its credentials. */
function addServiceAccount(chart: Chart, environment: Environment): void {
  new k8s.KubeServiceAccount(chart, 'service-account', {
    metadata: { name: 'fededge-serving', labels: labelsOf(environment) },
    automountServiceAccountToken: false,
    secrets: [{ name: 'fededge-serving' }],
  });
}

function storageUri(environment: Environment, model: string, source: ReleaseSource): string {
  if ('version' in source) return `${serviceUrl(environment)}/${weightsPath(model, source.version)}`;
  if ('oci' in source) return `oci://${source.oci}`;
  return 's3' in source ? source.s3 : source.url;
}
