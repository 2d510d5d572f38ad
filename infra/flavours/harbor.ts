import type { Environment } from '../environment.ts';
import { ApiObject, type Chart } from '../kubernetes.ts';
import { labelsOf } from '../names.ts';

/** The Secret that the pods' images are pulled with: `image.pullSecret`. */
const HARBOR_SECRET = 'fededge-harbor';

/**
 * Harbor holds images and models. Project, robot account and replication are made by `node infra/harbor/main.ts`:
 * Harbor has no kinds of its own in Kubernetes, and its administrator's password does not belong into every cluster that
 * pulls from it. What the cluster gets is the robot's name and secret, to pull with: here, from the store of External
 * Secrets (an entry with `registry`, `username` and `password`); else by hand.
 */
export function harbor(chart: Chart, environment: Environment): void {
  const { flavours, image, secret } = environment.settings;
  if (!flavours.harbor) return;
  if (image.pullSecret !== HARBOR_SECRET)
    throw new Error(`flavours.harbor: image.pullSecret is ${HARBOR_SECRET}`);
  if (secret.kind !== 'external-secrets') return;
  const login = '{{ printf "%s:%s" .username .password | b64enc }}';
  const text = `{"auths":{"{{ .registry }}":{"auth":"${login}"}}}`;
  new ApiObject(chart, 'pull-secret', {
    apiVersion: 'external-secrets.io/v1',
    kind: 'ExternalSecret',
    metadata: { name: HARBOR_SECRET, labels: labelsOf(environment) },
    spec: {
      refreshInterval: `${secret.refreshSeconds}s`,
      secretStoreRef: { kind: 'ClusterSecretStore', name: secret.store },
      target: {
        name: HARBOR_SECRET,
        template: { type: 'kubernetes.io/dockerconfigjson', data: { '.dockerconfigjson': text } },
      },
      data: ['registry', 'username', 'password'].map((secretKey) => ({
        secretKey,
        remoteRef: { key: `${secret.path}/harbor`, property: secretKey },
      })),
    },
  });
}
