import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Credentials } from '../../oci/index.ts';
import { Failure } from '../failure.ts';

type Environment = Record<string, string | undefined>;

/**
 * The user name and password for a registry: from FEDEDGE_REGISTRY_USERNAME and FEDEDGE_REGISTRY_PASSWORD_FILE, else
 * what `docker login` has stored in its config.json. Credential helpers are not asked.
 */
export async function findCredentials(registry: string, env: Environment): Promise<Credentials | undefined> {
  const { FEDEDGE_REGISTRY_USERNAME: username, FEDEDGE_REGISTRY_PASSWORD_FILE: file } = env;
  if (username !== undefined && file !== undefined) {
    const password = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new Failure(`FEDEDGE_REGISTRY_PASSWORD_FILE cannot be read (${error.code})`);
    });
    return { username, password: password.replace(/\r?\n$/, '') };
  }
  return readDockerConfig(registry, env.DOCKER_CONFIG ?? join(homedir(), '.docker'));
}

async function readDockerConfig(registry: string, folder: string): Promise<Credentials | undefined> {
  try {
    const config = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')) as {
      auths?: Record<string, { auth?: string }>;
    };
    const { auth } = config.auths?.[registry] ?? config.auths?.[`https://${registry}`] ?? {};
    if (!auth) return undefined;
    const text = Buffer.from(auth, 'base64').toString('utf8');
    const colon = text.indexOf(':');
    return colon > 0 ? { username: text.slice(0, colon), password: text.slice(colon + 1) } : undefined;
  } catch {
    return undefined;
  }
}
