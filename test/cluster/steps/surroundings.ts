import { randomBytes } from 'node:crypto';
import { chown, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { writeTrainingData } from '../digits.ts';
import { NAMESPACE } from '../kubectl.ts';
import { startPostgres } from '../postgres.ts';
import { dataFolder, type Scene } from '../scene.ts';
import type { Step } from '../step-runner.ts';

/** The user of the image. */
const USER = 10_001;

/** What an organisation has before it installs FedEdge: a database, storage, and Secrets that git does not hold. */
export const surroundings: Step<Scene> = {
  name: 'PostgreSQL, storage and Secrets are there',
  essential: true,
  async run(scene) {
    const { cluster, state, atEnd } = scene;
    const data = dataFolder(scene);
    for (const folder of ['data', 'agent-data']) {
      await mkdir(join(data, folder), { recursive: true });
      await chown(join(data, folder), USER, USER);
    }
    await writeTrainingData(join(data, 'agent-data'));
    scene.postgres = await startPostgres(join(state, 'database'), cluster.host);
    atEnd(scene.postgres.stop);
    scene.operatorKey = `fedop_${randomBytes(32).toString('base64url')}`;
    await cluster.kubectl.apply([
      namespace,
      secret('fededge', {
        DATABASE_URL: scene.postgres.url,
        FEDEDGE_OPERATOR_KEY: scene.operatorKey,
        'token-keys.json': await makeTokenKeys(),
      }),
      secret('fededge-release', { 'operator-key': scene.operatorKey }),
    ]);
    const [row] = await scene.postgres.sql`select current_setting('server_version') as version`;
    return `PostgreSQL ${row?.version} on ${cluster.host}, reached with a password`;
  },
};

/** Argo CD takes it over and adds its labels. */
const namespace = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name: NAMESPACE, labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } },
};

export function secret(name: string, stringData: Record<string, string>): object {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: NAMESPACE }, stringData };
}

async function makeTokenKeys(): Promise<string> {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(privateKey);
  return JSON.stringify({
    keys: [{ ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'ES256', use: 'sig' }],
  });
}
