import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import type { TokenKeys } from '../../deps.ts';

const FILE_NAME = 'token-keys.json';
const MAX_KEYS = 16;

/** Where the keys of access tokens are. */
export function tokenKeysFile(source: { dataDir: string; file?: string | undefined }): string {
  return source.file ?? join(source.dataDir, FILE_NAME);
}

/**
 * Reads the keys of access tokens: a JWK set with P-256 keys. Its first key signs; all verify, so a rotation puts the
 * new key first and keeps the old one (without `d` if you like) for as long as its tokens live. A key without `kid`
 * gets its thumbprint (RFC 7638). Without a configured `file` a set is made in the data folder at the first start,
 * readable by its owner alone; of several processes that start at once all end with the same set.
 */
export async function loadTokenKeys(source: {
  dataDir: string;
  file?: string | undefined;
}): Promise<TokenKeys> {
  const path = tokenKeysFile(source);
  const text = source.file === undefined ? await readOrCreate(path) : await readFile(path, 'utf8');
  try {
    return await parseKeySet(text);
  } catch (cause) {
    throw new Error(`${path} is not a JWK set of P-256 keys whose first is private`, { cause });
  }
}

/** Writes `text` to `path`, readable by its owner alone, unless there is such a file. True: it is ours. */
export async function createSecretFile(path: string, text: string): Promise<boolean> {
  const draft = `${path}.${randomUUID()}`;
  await mkdir(dirname(path), { recursive: true });
  try {
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    // A link is exclusive and shows the whole file at once: no other process reads half of it.
    await link(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await unlink(draft).catch(() => undefined);
  }
}

async function readOrCreate(path: string): Promise<string> {
  const found = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (found !== undefined) return found;
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(privateKey);
  const kid = await calculateJwkThumbprint(jwk);
  await createSecretFile(
    path,
    `${JSON.stringify({ keys: [{ ...jwk, kid, alg: 'ES256', use: 'sig' }] }, null, 2)}\n`,
  );
  return readFile(path, 'utf8');
}

/** JSON.parse quotes what it cannot read, and errors are logged: here it would quote a private key. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
}

async function parseKeySet(text: string): Promise<TokenKeys> {
  const { keys } = parseJson(text) as { keys: JWK[] };
  const first = keys[0];
  if (!first?.d || keys.length > MAX_KEYS) throw new Error(`the set has to have 1 to ${MAX_KEYS} keys`);
  const verifying = new Map<string, CryptoKey>();
  const published: Record<string, unknown>[] = [];
  for (const { kty, crv, x, y, kid: named } of keys) {
    if (kty !== 'EC' || crv !== 'P-256' || !x || !y) throw new Error('every key has to be of P-256');
    const jwk = { kty, crv, x, y };
    const kid = named ?? (await calculateJwkThumbprint(jwk));
    if (verifying.has(kid)) throw new Error(`the kid ${kid} is there twice`);
    verifying.set(kid, (await importJWK(jwk, 'ES256')) as CryptoKey);
    published.push({ ...jwk, kid, alg: 'ES256', use: 'sig' });
  }
  const { kty, crv, x, y, d } = first;
  const key = (await importJWK({ kty, crv, x, y, d } as JWK, 'ES256')) as CryptoKey;
  return {
    signing: { kid: published[0]?.kid as string, algorithm: 'ES256', key },
    verifying,
    jwks: { keys: published },
  };
}
