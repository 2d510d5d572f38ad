import type { Environment } from '../environment.ts';
import type { k8s } from '../kubernetes.ts';
import { names, ports } from '../names.ts';

/** The ConfigMap `fededge-config`: what API, worker and jobs share and what is no secret. */
export function configurationOf({ settings }: Environment): Record<string, string> {
  const { database, blobs, publicUrl, variables } = settings;
  const isEmbedded = database.kind === 'embedded';
  return {
    FEDEDGE_HOST: '0.0.0.0',
    FEDEDGE_PORT: String(ports.http),
    FEDEDGE_METRICS_PORT: String(ports.workerMetrics),
    FEDEDGE_PUBLIC_URL: publicUrl,
    FEDEDGE_DATA_DIR: '/data',
    ...(!isEmbedded && { FEDEDGE_WORKER: 'off', FEDEDGE_MIGRATE: 'off' }),
    ...(blobs.kind === 's3' && { FEDEDGE_S3_URL: blobs.url, FEDEDGE_S3_REGION: blobs.region }),
    ...variables,
  };
}

/** What API, worker and jobs take from the Secret, one by one: a key that nobody asked for reaches nobody. */
export function databaseVariables({ settings }: Environment): k8s.EnvVar[] {
  switch (settings.database.kind) {
    case 'embedded':
      return [];
    case 'external':
      return [fromSecret('DATABASE_URL', names.secret)];
    case 'cloudnative-pg':
      return [fromSecret('DATABASE_URL', `${names.database}-app`, 'uri')];
  }
}

export function blobVariables({ settings }: Environment): k8s.EnvVar[] {
  if (settings.blobs.kind !== 's3') return [];
  return ['FEDEDGE_S3_ACCESS_KEY_ID', 'FEDEDGE_S3_SECRET_ACCESS_KEY'].map((name) =>
    fromSecret(name, names.secret),
  );
}

/** The first operator's key. An embedded server makes one by itself and leaves it in its volume. */
export function operatorVariables({ settings }: Environment): k8s.EnvVar[] {
  return settings.database.kind === 'embedded' ? [] : [fromSecret('FEDEDGE_OPERATOR_KEY', names.secret)];
}

function fromSecret(name: string, secret: string, key = name): k8s.EnvVar {
  return { name, valueFrom: { secretKeyRef: { name: secret, key } } };
}

/** Inside the cluster; devices there sign for the public URL all the same. */
export function serviceUrl({ settings }: Environment): string {
  return `http://${names.api}.${settings.namespace}.svc`;
}
