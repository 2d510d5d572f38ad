import type { Environment } from '../environment.ts';
import { type Construct, k8s } from '../kubernetes.ts';
import { labelsOf, names } from '../names.ts';
import type { VolumeSettings } from '../settings.ts';

const size = k8s.Quantity.fromString;

/** A pod's volume, and where its container sees it. */
export interface Mounted {
  volume: k8s.Volume;
  mount: Omit<k8s.VolumeMount, 'name'>;
}

export const temporary: Mounted = {
  volume: { name: 'tmp', emptyDir: { sizeLimit: size('1Gi') } },
  mount: { mountPath: '/tmp' },
};

/** FEDEDGE_DATA_DIR: the shared volume where blobs (or the embedded database) are files, else a place for caches. */
export function dataFolder({ settings }: Environment): Mounted {
  return settings.blobs.kind === 's3' ? scratchFolder : claimed('data', names.data, '/data');
}

/** A data folder that nothing is kept in. */
export const scratchFolder: Mounted = {
  volume: { name: 'data', emptyDir: { sizeLimit: size('4Gi') } },
  mount: { mountPath: '/data' },
};

/** A claim, mounted. */
export function claimed(name: string, claimName: string, mountPath: string, readOnly = false): Mounted {
  return {
    volume: { name, persistentVolumeClaim: { claimName, ...(readOnly && { readOnly }) } },
    mount: { mountPath, ...(readOnly && { readOnly }) },
  };
}

/** One key of a Secret as a file; a new value arrives in the file. */
export function secretFile(
  name: string,
  secretName: string,
  item: { key: string; path: string },
  mountPath: string,
): Mounted {
  return {
    volume: { name, secret: { secretName, items: [item], defaultMode: 0o440 } },
    mount: { mountPath, readOnly: true },
  };
}

/** The claim `name`, and the volume on the node's folder if it says so. It outlives a deletion of its Application. */
export function claim(
  scope: Construct,
  environment: Environment,
  name: string,
  volume: VolumeSettings,
): void {
  const { namespace } = environment.settings;
  const spec = { accessModes: [volume.accessMode], capacity: { storage: size(volume.size) } };
  const volumeName = `${namespace}-${name}`;
  const labels = labelsOf(environment);
  if (volume.localPath) {
    new k8s.KubePersistentVolume(scope, `${name}-volume`, {
      metadata: { name: volumeName, labels },
      spec: {
        ...spec,
        storageClassName: '',
        persistentVolumeReclaimPolicy: 'Retain',
        claimRef: { namespace, name },
        local: { path: volume.localPath },
        nodeAffinity: {
          required: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: 'kubernetes.io/os', operator: 'In', values: ['linux'] }] },
            ],
          },
        },
      },
    });
  }
  const storageClassName = volume.localPath ? '' : volume.storageClass;
  new k8s.KubePersistentVolumeClaim(scope, `${name}-claim`, {
    metadata: {
      name,
      labels,
      annotations: { 'argocd.argoproj.io/sync-options': 'Delete=false,Prune=false' },
    },
    spec: {
      accessModes: spec.accessModes,
      resources: { requests: spec.capacity },
      ...(storageClassName !== undefined && { storageClassName }),
      ...(volume.localPath && { volumeName }),
    },
  });
}
