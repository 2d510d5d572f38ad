import { exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import type { DevicePublicKey } from '../generated/types.gen.ts';
import type { AgentStore } from '../store/agent-store.ts';

const FILE = 'identity.json';

type Algorithm = 'EdDSA' | 'ES256';

/** What a device is: its key, and once it is registered the id that the server gave it. */
export interface Identity {
  algorithm: Algorithm;
  privateKey: CryptoKey;
  publicKey: DevicePublicKey;
  device: string | undefined;
}

interface StoredIdentity {
  algorithm: Algorithm;
  key: JWK;
  device?: string | undefined;
}

/** The identity that the store keeps, or a fresh one: written before it is first used. */
export async function openIdentity(store: AgentStore): Promise<Identity> {
  const bytes = await store.read(FILE);
  if (bytes) return fromStored(JSON.parse(new TextDecoder().decode(bytes)) as StoredIdentity);
  const fresh = await generateKey();
  await writeIdentity(store, fresh);
  return fromStored(fresh);
}

/** Keeps the id that the server gave to the device; undefined forgets it. */
export async function keepDevice(
  store: AgentStore,
  identity: Identity,
  device: string | undefined,
): Promise<void> {
  const key = await exportJWK(identity.privateKey);
  await writeIdentity(store, { algorithm: identity.algorithm, key, device });
  identity.device = device;
}

function writeIdentity(store: AgentStore, stored: StoredIdentity): Promise<void> {
  return store.write(FILE, new TextEncoder().encode(`${JSON.stringify(stored, null, 2)}\n`));
}

/** Ed25519, or P-256 where the platform does not know that. */
async function generateKey(): Promise<StoredIdentity> {
  try {
    return await generate('EdDSA');
  } catch {
    return generate('ES256');
  }
}

async function generate(algorithm: Algorithm): Promise<StoredIdentity> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  return { algorithm, key: await exportJWK(privateKey) };
}

async function fromStored({ algorithm, key, device }: StoredIdentity): Promise<Identity> {
  const privateKey = (await importJWK(key, algorithm, { extractable: true })) as CryptoKey;
  const { kty, crv, x, y } = key;
  const publicKey = { kty, crv, x, ...(y !== undefined && { y }) } as DevicePublicKey;
  return { algorithm, privateKey, publicKey, device };
}
